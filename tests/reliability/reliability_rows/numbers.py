"""Row 15: NaN and infinity, wherever they come from."""

from __future__ import annotations

import runpy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import CheckpointError, NonFiniteError
from agnostic_dl.train import Callback, Checkpoints
from reliability_rows.common import PROJECT, data, model
from reliability_rows.table import Outcome, row

_LAYERS = ("0.weight", "0.bias", "1.weight", "1.bias", "6.weight", "6.bias")


class _At(Callback):
    """Does something to the trainer after a step, so that the next one goes wrong."""

    def __init__(self, step: int, act: Callable[[adl.Trainer], None]) -> None:
        self.step, self.act, self.last = step, act, 0

    def on_step_end(self, trainer: adl.Trainer, step: int, count: int, loss: float) -> None:
        self.last = trainer.step.count
        if trainer.step.count == self.step:
            self.act(trainer)


Case = tuple[str, Any, Callable[[adl.Trainer], None], str]


def _cases() -> Iterator[Case]:
    """Name, data, what to do after step 2, and what the message must name."""
    for bad in (np.nan, np.inf, -np.inf):
        for example in (0, 50, 95):
            x, y = data()
            x[example, 3, 4, 0] = bad
            yield f"a pixel {bad} in example {example}", (x, y), _nothing, "Conv2d '0'"
    for bad in (np.nan, np.inf):
        for name in _LAYERS:
            yield f"{name} becomes {bad}", data(), _poison(name, bad), f"'{name}'"
        yield f"a loss of {bad}", data(), _bad_loss(bad), "the loss itself"
    for name in ("0.weight", "1.bias", "6.weight"):
        for bad in (np.nan, np.inf):
            yield f"a gradient {bad} in {name}", data(), _bad_gradient(name, bad), f"'{name}'"
    yield "a learning rate of 1e38", data(), _rate(1e38), "2d '"


def _nothing(trainer: adl.Trainer) -> None:
    pass


def _poison(name: str, bad: float) -> Callable[[adl.Trainer], None]:
    def act(trainer: adl.Trainer) -> None:
        parameter = trainer.model.parameters()[name]
        array = np.array(parameter.data)
        array.flat[0] = bad
        parameter.data = array

    return act


def _bad_loss(bad: float) -> Callable[[adl.Trainer], None]:
    def act(trainer: adl.Trainer) -> None:
        plain = trainer.step.loss
        trainer.step.loss = lambda outputs, y: plain(outputs, y) * bad

    return act


def _bad_gradient(name: str, bad: float) -> Callable[[adl.Trainer], None]:
    """The loss stays finite, one number of one gradient does not."""

    def act(trainer: adl.Trainer) -> None:
        plain = trainer.step.gradients

        def gradients(x: Any, y: Any) -> Any:
            loss, outputs, grads = plain(x, y)
            array = np.array(grads[name])
            array.flat[-1] = bad
            return loss, outputs, {**grads, name: array}

        trainer.step.gradients = gradients  # type: ignore[method-assign]
        state = trainer.step.state  # given back as another one: what was captured is forgotten
        trainer.step.state = {**state, "slots": dict(state["slots"])}

    return act


def _rate(value: float) -> Callable[[adl.Trainer], None]:
    def act(trainer: adl.Trainer) -> None:
        trainer.step.engine = adl.optim.Engine(adl.optimizer("sgd", learning_rate=value))

    return act


@row(
    15,
    "NaN and infinity",
    "30/30 caught in the step, layer named; 0 bad checkpoints; ≤ 1 % of a step",
)
def injected(full: bool) -> Outcome:
    """Pixels, weights, losses, gradients and steps that are too long."""
    outcome = Outcome()
    cases = list(_cases())
    for name, pair, act, named in cases if full else cases[::5]:
        with tempfile.TemporaryDirectory() as place, np.errstate(all="ignore"):
            problem = _problem(Path(place), pair, act, named, save_first="inf" in name)
        outcome.check(problem is None, f"{name}: {problem}")
    if full:
        _note_costs(outcome)
    return outcome


def _note_costs(outcome: Outcome) -> None:
    """The share of a step that the check takes; more than 1 % is a miss."""
    cost = runpy.run_path(str(PROJECT / "benchmarks" / "health_check.py"))["cost"]
    shares = {name: 100 * cost(name, pairs)[0] for name, pairs in (("lenet", 20), ("mlp", 30))}
    outcome.note("check: " + ", ".join(f"{n} {share:.2f} %" for n, share in shares.items()))
    for name, share in shares.items():
        if share > 1:
            outcome.failures.append(f"the check costs {share:.2f} % of a step of {name}")


def _problem(
    folder: Path, pair: Any, act: Callable[[adl.Trainer], None], named: str, save_first: bool
) -> str | None:
    """What was wrong; the harm is done after the step's save, or before: then that refuses."""
    plain = nn.Sequential(*model().layers.values())
    trainer = adl.Trainer(plain, adl.optimizer("momentum", learning_rate=1e-2), seed=5)
    trap = _At(2, act)
    watchers = [trap, Checkpoints(folder, every_steps=1)]
    try:
        trainer.fit(pair, epochs=1, batch_size=16, callbacks=watchers[:: -1 if save_first else 1])
    except NonFiniteError as error:
        if named not in str(error):
            return f"{named} is not in {error}"
    else:
        return "not caught"
    if trainer.step.count != trap.last:
        return f"the bad step {trainer.step.count} was made"
    try:
        loaded = adl.Trainer.load(folder)
    except CheckpointError:
        return None if trap.last == 0 else "nothing was kept"
    bad = [n for n, a in loaded.model.state_dict().items() if not np.isfinite(a).all()]
    return f"a checkpoint with bad {bad}" if bad else None
