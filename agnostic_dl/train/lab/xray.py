"""X-ray: watches what an optimizer does to each parameter while a model trains.

A callback of the Trainer: it stands between the step and the engine, sees gradients, weights before
and after and the optimizer's state, and changes none of them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agnostic_dl.backends import backend_of
from agnostic_dl.errors import UsageError
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.optim.engine import Engine, EngineState, clip_by_global_norm
from agnostic_dl.optim.update import learning_rate_at, scalars_for
from agnostic_dl.primitives import library_of
from agnostic_dl.train.callback import Callback
from agnostic_dl.train.lab import measures, shadow
from agnostic_dl.train.step import TrainStep
from agnostic_dl.train.trainer import Trainer

FORMAT = 1
WHOLE = "*"  # the row of all parameters together


class ObservedEngine(Engine):
    """An engine that shows every update to a watcher; it computes what the engine computes."""

    def __init__(self, engine: Engine, watcher: XRay) -> None:
        super().__init__(engine.optimizer, engine.clip_norm, engine.overrides)
        self.watcher = watcher

    def update(
        self, params: Mapping[str, Any], grads: Mapping[str, Any], state: EngineState
    ) -> tuple[dict[str, Any], EngineState]:
        """One step of the engine, then the watcher's look at it."""
        new, new_state = super().update(params, grads, state)
        self.watcher.look(self, params, new, grads, new_state)
        return new, new_state


class XRay(Callback):
    """Records, for every parameter, what the optimizer does; give it to `Trainer.fit`.

    *every*: a full look at every so many steps, and at each of the first *dense*; *elements*: how
    many elements of a parameter stand for it in quantiles, signs and shadows (norms are of all);
    None: all of them. *shadows*: names of other optimizers, or a mapping from labels to optimizers;
    None: the usual ones; (): none. They use their own learning rates.
    """

    def __init__(
        self, every: int = 20, dense: int = 10, elements: int | None = 2048, shadows: Any = None,
        path: Path | None = None,
    ) -> None:  # fmt: skip
        if every < 1 or (elements is not None and elements < 1):
            raise UsageError("XRay: every and elements must be at least 1")
        self.every, self.dense, self.elements, self.path = every, dense, elements, path
        self.wanted = shadows
        self.rows: list[dict[str, Any]] = []
        self.steps: list[dict[str, float]] = []
        self.losses: list[list[float]] = []
        self.about: dict[str, Any] = {}
        self.notes: list[str] = []
        #: Plain data for the report: settings, data, versions.
        self.info: dict[str, Any] = {}
        self.history: list[dict[str, float]] = []
        self._shadows: shadow.Shadows | None = None
        self._before: tuple[int, list[str], Any] | None = None
        self._engines: list[tuple[TrainStep, Engine]] = []
        self.steps_per_epoch = self._count = 0

    # -- attaching ------------------------------------------------------------------------------

    def attach(self, step: TrainStep) -> None:
        """Begin to watch the step's updates."""
        self._engines.append((step, step.engine))
        step.engine = ObservedEngine(step.engine, self)

    def detach(self) -> None:
        """Stop watching: every step has its own engine again."""
        while self._engines:
            step, engine = self._engines.pop()
            step.engine = engine

    def on_fit_start(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        """Attach to the trainer's step."""
        done = self._count = trainer.step.count
        self.steps_per_epoch = steps_per_epoch
        for rows in (self.rows, self.steps, self.history):
            rows[:] = [row for row in rows if row["step"] <= done]
        self.losses[:] = [pair for pair in self.losses if pair[0] <= done]
        if done:
            self.notes.append(f"shadow optimizers began with step {done + 1}")
        self.attach(trainer.step)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Detach, and write what there is."""
        self.detach()
        self._write()

    def on_step_end(self, trainer: Trainer, step: int, count: int, loss: float) -> None:
        """Remember the loss of every step that was made; one may have been left out."""
        if trainer.step.count != self._count:
            self._count = trainer.step.count
            self.losses.append([self._count, loss])

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """Keep the row of the history, and write what there is."""
        self.history.append(dict(row))
        self._write()

    def _write(self) -> None:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside = self.path.with_name(self.path.name + ".partial")
            beside.write_text(json.dumps(self.record()))
            beside.replace(self.path)

    # -- looking --------------------------------------------------------------------------------

    def due(self, step: int) -> bool:
        """Whether step number *step*, which counts from 1, gets a full look."""
        return step <= self.dense or step % self.every == 0

    def look(
        self, engine: Engine, before: Mapping[str, Any], after: Mapping[str, Any],
        grads: Mapping[str, Any], state: EngineState,
    ) -> None:  # fmt: skip
        """See one update; called by the engine after it."""
        step: int = state["step"]
        names = [n for n, o in _optimizers(engine, grads).items() if o is not None]
        if not names:
            return
        if self._shadows is None:
            self._begin(engine)
        assert self._shadows is not None
        look = self.due(step)
        if not (look or self.due(step + 1) or self._shadows.optimizers):
            return
        grads = {name: grads[name] for name in names}
        if engine.clip_norm and self._shadows.optimizers:
            grads = clip_by_global_norm(grads, engine.clip_norm)
        xp = library_of("xray", (grads[names[0]],))[1]
        samples = shadow.Samples(xp, before, after, grads, self.elements)
        others = self._shadows.follow(samples, before, after, grads, step, look)
        if look:
            self._record(engine, before, after, grads, state, samples, others)
        self._before = (step, names, samples.grads)

    def _begin(self, engine: Engine) -> None:
        self._shadows = shadow.Shadows(shadow.chosen(self.wanted, engine.optimizer))
        self.about = {
            "optimizer": _described(engine.optimizer),
            "overrides": {p: o and _described(o) for p, o in engine.overrides.items()},
            "clip_norm": engine.clip_norm,
            "shadows": {n: _described(o) for n, o in self._shadows.optimizers.items()},
            "every": self.every, "dense": self.dense, "elements": self.elements,
        }  # fmt: skip

    def _record(
        self, engine: Engine, before: Any, after: Any, grads: Any, state: EngineState,
        samples: shadow.Samples, others: dict[str, dict[str, Any]],
    ) -> None:  # fmt: skip
        step, xp = state["step"], samples.xp
        values: dict[tuple[str, str], Any] = {}
        for name, optimizer in _optimizers(engine, grads).items():
            assert optimizer is not None
            place, slots = samples.places[name], state["slots"][name]
            rate = learning_rate_at(optimizer, step, _memory(engine, optimizer, state))
            drawn = {
                n: measures.sampled(xp, a, self.elements)
                for n, a in slots.items()
                if a.shape == grads[name].shape
            }
            update = (samples.after - samples.before)[place]
            found = {
                **measures.norms(xp, before[name], after[name], grads[name]),
                **measures.effective_step(xp, update, samples.grads[place], rate),
                **measures.state_values(xp, slots, drawn, corrections(optimizer, step)),
                **others.get(name, {}),
            }
            if self._before is not None and self._before[:2] == (step - 1, samples.names):
                now, earlier = samples.grads[place], self._before[2][place]
                found.update(measures.sign_agreement(xp, now, earlier, samples.weights[name]))
            values.update({(name, quantity): value for quantity, value in found.items()})
        self._keep(engine, state, values, grads)

    def _keep(self, engine: Engine, state: EngineState, values: Any, grads: Any) -> None:
        """Bring the numbers of this step to the host, all at once, and store them."""
        assert self._shadows is not None
        step, main = state["step"], engine.optimizer
        xp = library_of("xray", tuple(values.values())[:1])[1]
        double = any(value.dtype == xp.float64 for value in values.values())
        dtype = xp.float64 if double else xp.float32
        stacked = xp.stack([xp.astype(value, dtype) for value in values.values()])
        numbers = backend_of(stacked).to_numpy(stacked).tolist()
        raw: dict[str, dict[str, float]] = {}
        for (name, quantity), number in zip(values, numbers, strict=True):
            raw.setdefault(name, {"size": math.prod(grads[name].shape)})[quantity] = number
        labels = list(self._shadows.optimizers)
        for name, row in [(WHOLE, measures.whole(list(raw.values()))), *raw.items()]:
            compared = shadow.compared(row, labels)
            shown = {**measures.finished(row), **compared}
            known = {n: value for n, value in shown.items() if math.isfinite(value)}
            self.rows.append({"step": step, "parameter": name, **known})
        rate = learning_rate_at(main, step, state["schedules"][0])
        first, second = corrections(main, step)
        self.steps.append(
            {"step": step, "learning_rate": rate, **_scalars(main, rate, step),
             **({"bias_correction_1": first, "bias_correction_2": second}
                if hasattr(main, "beta1") and hasattr(main, "beta2") else {})}
        )  # fmt: skip

    # -- keeping --------------------------------------------------------------------------------

    def record(self) -> dict[str, Any]:
        """Everything that was seen, as plain data."""
        return {
            "format": FORMAT, "about": self.about, "steps_per_epoch": self.steps_per_epoch,
            "losses": self.losses, "steps": self.steps, "rows": self.rows, "notes": self.notes,
            "info": self.info, "history": self.history,
        }  # fmt: skip

    @classmethod
    def continued(cls, path: Path, **options: Any) -> XRay:
        """An X-ray that keeps its record at *path* and goes on from the one that is there."""
        made = cls(path=path, **options)
        try:
            earlier = json.loads(path.read_text())
            if earlier["format"] == FORMAT:
                made.rows, made.steps = list(earlier["rows"]), list(earlier["steps"])
                made.losses, made.notes = earlier["losses"], earlier["notes"]
                made.history = earlier["history"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # none there, or none that can be read: a new one
        return made


def corrections(optimizer: Optimizer, step: int) -> tuple[float, float]:
    """1 - β₁ᵗ and 1 - β₂ᵗ of an optimizer with beta1 and beta2; 1 and 1 for others."""
    first, second = getattr(optimizer, "beta1", None), getattr(optimizer, "beta2", None)
    if not isinstance(first, float) or not isinstance(second, float):
        return 1.0, 1.0
    return 1.0 - first**step, 1.0 - second**step


def _optimizers(engine: Engine, grads: Mapping[str, Any]) -> dict[str, Optimizer | None]:
    return {name: engine.optimizer_for(name) for name in grads}


def _memory(engine: Engine, optimizer: Optimizer, state: EngineState) -> Any:
    for other, memory in zip(engine.optimizers, state["schedules"], strict=True):
        if other is optimizer:
            return memory
    return None


def _scalars(optimizer: Optimizer, rate: float, step: int) -> dict[str, float]:
    values = scalars_for(optimizer, rate, step)
    return {
        f"scalar_{n}": float(v) for n, v in values.items() if n not in ("learning_rate", "step")
    }


def _described(optimizer: Optimizer) -> dict[str, Any]:
    fields = dataclasses.fields(optimizer)  # type: ignore[arg-type]
    hyper = {f.name: getattr(optimizer, f.name) for f in fields}
    return {
        "name": type(optimizer).__name__,
        "hyperparameters": {n: v if _plain(v) else repr(v) for n, v in hyper.items()},
        "elementwise": bool(type(optimizer).elementwise),
    }


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
