"""An optimizer's update on plain arrays of any library: no Tensors, no primitives, no kernels.

The way of the bridges to other frameworks, where the library's own compiler may be watching.
"""

from __future__ import annotations

from typing import Any

from agnostic_dl.errors import ShapeError
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.optim.update import declared_scalars


def scalar_arrays(
    optimizer: Optimizer, xp: Any, learning_rate: Any, step: Any, dtype: Any, device: Any = None
) -> dict[str, Any]:
    """The numbers of one step that the update declares, as 0-d arrays of *dtype*.

    Computed in float64 where *learning_rate* and *step* are Python numbers, else in their dtype.
    """
    numbers = optimizer.scalars(learning_rate, step)
    declared = declared_scalars(optimizer)
    return {
        name: _array(xp, value, dtype, device)
        for name, value in numbers.items()
        if declared is None or name in declared
    }


def _array(xp: Any, value: Any, dtype: Any, device: Any) -> Any:
    if hasattr(value, "dtype"):
        return value if value.dtype == dtype else xp.astype(value, dtype)
    return xp.asarray(value, dtype=dtype, device=device)


def raw_update(
    optimizer: Optimizer, xp: Any, param: Any, grad: Any, state: dict[str, Any],
    scalars: dict[str, Any],
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """The new (param, state); the optimizer may not change the param's shape or dtype."""
    new, new_state = optimizer.update(xp, param, grad, state, **scalars)
    if tuple(new.shape) != tuple(param.shape) or new.dtype != param.dtype:
        raise ShapeError(
            f"{type(optimizer).__name__}.update returned {new.dtype}{tuple(new.shape)} for a "
            f"parameter {param.dtype}{tuple(param.shape)}: shape and dtype must stay"
        )
    return new, new_state
