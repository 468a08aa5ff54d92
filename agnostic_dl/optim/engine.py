"""The engine: applies optimizers to a model's parameters.

All that goes across parameters is here: clipping by the global norm, other optimizers for some
parameters by name pattern, schedules, the count of steps. An optimizer itself sees one array.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Protocol

from agnostic_dl.errors import UsageError
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.optim.schedules import Metric, Schedule, check_rate
from agnostic_dl.optim.update import (
    apply_update,
    as_arrays,
    init_state,
    learning_rate_at,
    scalars_for,
)
from agnostic_dl.primitives import PRIMITIVES

#: {"step": int, "schedules": [state, ...], "slots": {parameter: {name: array}}}, which is all that
#: the engine makes. A training step may keep more in it ("scaling", of mixed precision); the engine
#: hands that on, and where an engine of one's own drops it the step keeps what it had.
EngineState = dict[str, Any]


class Model(Protocol):
    """What the engine needs of a model."""

    @property
    def initialized(self) -> bool:
        """Whether its parameters have values."""
        ...

    def init(self, seed: int = 0, *, missing_only: bool = False) -> Any:
        """Give them values."""
        ...

    def parameters(self) -> Mapping[str, Any]:
        """The parameters by name."""
        ...


class Engine:
    """An optimizer for a whole model; stands wherever an optimizer may.

    *clip_norm*: gradients are scaled so that their global norm is at most this. *overrides*: name
    pattern ("conv*", "*.bias") → another optimizer for those parameters, or None to leave them as
    they are; the first pattern that matches counts.
    """

    def __init__(
        self,
        optimizer: Optimizer | Engine,
        clip_norm: float | None = None,
        overrides: Mapping[str, Optimizer | None] | None = None,
    ) -> None:
        if isinstance(optimizer, Engine):
            raise UsageError("Engine expects an optimizer, got an Engine: give it the options")
        _check_optimizer(optimizer, "Engine")
        for pattern, other in (overrides or {}).items():
            if other is not None:
                _check_optimizer(other, f"overrides[{pattern!r}]")
        if clip_norm is not None and not clip_norm > 0:
            raise UsageError(f"clip_norm: expected a positive number or None, got {clip_norm!r}")
        self.optimizer, self.clip_norm = optimizer, clip_norm
        self.overrides = dict(overrides or {})

    # -- which optimizer for which parameter ----------------------------------------------------

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizer and those of the overrides, in order; the frozen patterns have none."""
        return [self.optimizer, *(o for o in self.overrides.values() if o is not None)]

    def optimizer_for(self, name: str) -> Optimizer | None:
        """The optimizer of the parameter of that name; None: it is not updated."""
        for pattern, optimizer in self.overrides.items():
            if fnmatchcase(name, pattern):
                return optimizer
        return self.optimizer

    def _check_patterns(self, names: list[str]) -> None:
        for pattern in self.overrides:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise UsageError(
                    f"overrides: the pattern {pattern!r} matches no parameter. The parameters: "
                    f"{', '.join(names)}"
                )

    # -- the functional way ---------------------------------------------------------------------

    def init(self, params: Mapping[str, Any]) -> EngineState:
        """The state before the first step, for plain arrays by name."""
        self._check_patterns(list(params))
        slots = {}
        for name, param in params.items():
            optimizer = self.optimizer_for(name)
            if optimizer is not None:
                slots[name] = init_state(optimizer, param)
        schedules = [
            o.learning_rate.init() if isinstance(o.learning_rate, Schedule) else {}
            for o in self.optimizers
        ]
        return {"step": 0, "schedules": schedules, "slots": slots}

    def update(
        self, params: Mapping[str, Any], grads: Mapping[str, Any], state: EngineState
    ) -> tuple[dict[str, Any], EngineState]:
        """One step: the new plain arrays by name, and the new state. A missing gradient is zero."""
        step = state["step"] + 1
        wanted = {n: g for n, g in grads.items() if self.optimizer_for(n) is not None}
        clipped = clip_by_global_norm(wanted, self.clip_norm) if self.clip_norm else wanted
        numbers = self.scalars(state)
        new_params, slots = dict(params), dict(state["slots"])
        for name, grad in clipped.items():
            optimizer = self.optimizer_for(name)
            assert optimizer is not None
            param = params[name]
            arrays = as_arrays(numbers[id(optimizer)], param)
            new_params[name], slots[name] = apply_update(
                optimizer, param, grad, slots[name], arrays
            )
        return new_params, {**state, "step": step, "slots": slots}

    def scalars(self, state: EngineState) -> dict[int, dict[str, float]]:
        """The numbers of the next step that each optimizer's update declares, by its identity."""
        step = state["step"] + 1
        return {
            id(o): scalars_for(o, learning_rate_at(o, step, memory), step)
            for o, memory in zip(self.optimizers, state["schedules"], strict=True)
        }

    def observe(self, state: EngineState, metric: Metric) -> EngineState:
        """Tell the schedules a validation metric, or several by name; those that watch react."""
        schedules = [
            o.learning_rate.observe(memory, metric)
            if isinstance(o.learning_rate, Schedule)
            else memory
            for o, memory in zip(self.optimizers, state["schedules"], strict=True)
        ]
        return {**state, "schedules": schedules}

    def learning_rate(self, state: EngineState) -> float:
        """The main optimizer's learning rate in the next step."""
        return learning_rate_at(self.optimizer, state["step"] + 1, state["schedules"][0])

    # -- the imperative way ---------------------------------------------------------------------

    def bind(self, model: Model) -> BoundEngine:
        """Bind to a model whose `.grad`s a backward pass fills: then `.step()` updates it."""
        return BoundEngine(self, model)


class BoundEngine:
    """An engine and the model that it updates, for the imperative way.

    >>> # loss.backward(); bound.step(); bound.zero_grad()
    """

    def __init__(self, engine: Engine, model: Model) -> None:
        self.engine, self.model = engine, model
        if not model.initialized:
            model.init(0, missing_only=True)
        self.state = engine.init({n: p.data for n, p in model.parameters().items()})

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.engine.learning_rate(self.state)

    def step(self, metric: Metric | None = None) -> None:
        """Update every parameter that has a gradient; tell the schedules *metric* first, if any."""
        if metric is not None:
            self.state = self.engine.observe(self.state, metric)
        parameters = self.model.parameters()
        grads = {n: p.grad.data for n, p in parameters.items() if p.grad is not None}
        if not grads:
            raise UsageError("step: no parameter has a gradient; call loss.backward() first")
        arrays = {n: p.data for n, p in parameters.items()}
        new, self.state = self.engine.update(arrays, grads, self.state)
        for name in grads:
            parameters[name].data = new[name]

    def zero_grad(self) -> None:
        """Forget the gradients: the next backward pass starts from none."""
        for parameter in self.model.parameters().values():
            parameter.grad = None


def _check_optimizer(optimizer: Any, where: str) -> None:
    if not hasattr(optimizer, "update") or not hasattr(optimizer, "learning_rate"):
        raise UsageError(
            f"{where}: expected an optimizer, such as adl.optimizer('adam', learning_rate=1e-3), "
            f"got {type(optimizer).__name__}"
        )
    check_rate(optimizer.learning_rate)


def clip_by_global_norm(grads: Mapping[str, Any], limit: float) -> dict[str, Any]:
    """Scale gradients by min(1, limit / (‖g‖ + 1e-6)), ‖g‖ the norm of all of them together.

    Source: Pascanu, Mikolov and Bengio, "On the Difficulty of Training Recurrent Neural Networks",
    ICML 2013, algorithm 1, with PyTorch's epsilon.
    """
    p = PRIMITIVES
    if not grads:
        return {}
    squares = [p["sum"](p["square"](g)) for g in grads.values()]
    total = squares[0]
    for square in squares[1:]:
        total = p["add"](total, square)
    ratio = p["divide"](p["ones_like"](total), p["add"](p["sqrt"](total), 1e-6))
    scale = p["minimum"](p["multiply"](ratio, float(limit)), p["ones_like"](total))
    return {n: p["multiply"](g, p["astype"](scale, dtype=g.dtype)) for n, g in grads.items()}


def as_engine(optimizer: Any) -> Engine:
    """An Engine as it is, an optimizer wrapped in one."""
    return optimizer if isinstance(optimizer, Engine) else Engine(optimizer)


__all__ = ["BoundEngine", "Engine", "EngineState", "as_engine", "clip_by_global_norm"]
