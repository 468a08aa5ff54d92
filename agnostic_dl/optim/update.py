"""One optimizer's update of one array, with the numbers that it asks for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

from agnostic_dl.autograd import Tensor, no_grad, tensor_namespace
from agnostic_dl.errors import ShapeError
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.optim.schedules import Schedule, State
from agnostic_dl.primitives import library_of

_REAL_OF = {"complex64": "float32", "complex128": "float64"}


@cache
def _declared(kind: Any) -> frozenset[str] | None:
    """The scalars that the class's update declares; None: all of them."""
    parameters = list(inspect.signature(kind.update).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def declared_scalars(optimizer: Optimizer) -> frozenset[str] | None:
    """The scalars that the optimizer's update declares; None: all of them."""
    kind: Any = type(optimizer)
    return _declared(kind)


def learning_rate_at(optimizer: Optimizer, step: int, state: State | None = None) -> float:
    """The optimizer's learning rate in a step, be it a number or a schedule."""
    rate = optimizer.learning_rate
    if isinstance(rate, Schedule):
        return rate(step, state)
    return float(rate(step)) if callable(rate) else float(rate)


def scalars_for(optimizer: Optimizer, learning_rate: float, step: int) -> dict[str, float]:
    """The numbers of one step that the optimizer's update declares, in float64."""
    kind: Any = type(optimizer)
    declared = _declared(kind)
    values = optimizer.scalars(float(learning_rate), int(step))
    return values if declared is None else {n: v for n, v in values.items() if n in declared}


def init_state(optimizer: Optimizer, param: Any) -> dict[str, Any]:
    """The optimizer's state for one plain array, as plain arrays."""
    xp = tensor_namespace(library_of("optimizer", (param,))[1])
    with no_grad():
        return _plain(optimizer.init(xp, Tensor(param)))


def as_arrays(scalars: Mapping[str, float], param: Any) -> dict[str, Any]:
    """The numbers of one step as 0-d arrays of the parameter's real dtype, where it lies."""
    from array_api_compat import device

    library = library_of("optimizer", (param,))[1]
    name = str(param.dtype).rpartition(".")[2]
    real = getattr(library, _REAL_OF[name]) if name in _REAL_OF else param.dtype
    return {
        key: library.asarray(value, dtype=real, device=device(param))
        for key, value in scalars.items()
    }


def apply_update(
    optimizer: Optimizer, param: Any, grad: Any, state: Mapping[str, Any],
    numbers: Mapping[str, Any],
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Update one plain array, given the step's :func:`as_arrays`; all through the primitives."""
    library = library_of("optimizer", (param, grad))[1]
    with no_grad():
        wrapped = {key: Tensor(value) for key, value in state.items()}
        scalars = {key: Tensor(value) for key, value in numbers.items()}
        new, new_state = optimizer.update(
            tensor_namespace(library), Tensor(param), Tensor(grad), wrapped, **scalars
        )
    new = _plain_array(new)
    if new.shape != param.shape or new.dtype != param.dtype:
        raise ShapeError(
            f"{type(optimizer).__name__}.update returned {new.dtype}{tuple(new.shape)} for a "
            f"parameter {param.dtype}{tuple(param.shape)}: shape and dtype must stay"
        )
    return new, _plain(new_state)


def _plain_array(value: Any) -> Any:
    return value._value if isinstance(value, Tensor) else value


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain_array(value) for name, value in state.items()}


def step(
    optimizer: Optimizer, param: Any, grad: Any, state: dict[str, Any] | None = None, *, step: int,
    learning_rate: float | None = None,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Update one array as the engine does: the new (param, state).

    *step* counts from 1; *state* None: the optimizer's first; *learning_rate* None: the
    optimizer's own, of that step. Raw arrays in, raw arrays out; Tensors in, Tensors out.
    """
    raw = not isinstance(param, Tensor)
    param, grad = _plain_array(param), _plain_array(grad)
    rate = learning_rate_at(optimizer, step) if learning_rate is None else learning_rate
    plain = init_state(optimizer, param) if state is None else _plain(state)
    numbers = as_arrays(scalars_for(optimizer, rate, step), param)
    new, new_state = apply_update(optimizer, param, grad, plain, numbers)
    if raw:
        return new, new_state
    return Tensor(new), {name: Tensor(value) for name, value in new_state.items()}
