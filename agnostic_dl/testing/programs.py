"""An optimizer's update as a program, for backends that compile it."""

from __future__ import annotations

from typing import Any

from agnostic_dl import backends
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.optim.update import apply_update, as_arrays, init_state, scalars_for
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.primitives.passes import optimize
from agnostic_dl.primitives.program import Program
from agnostic_dl.primitives.recorder import Recorder


def update_program(
    optimizer: Optimizer, size: int, dtype: str = "float32", grad_dtype: str | None = None
) -> Program:
    """The update of one flat array of *size* elements, recorded on the current backend.

    Inputs: "param", "grad", one for each slot of the state and one for each scalar, as
    "scalar.NAME"; outputs "param" and the slots, which take over the inputs of those names. A
    gradient of another *grad_dtype* is brought to the parameter's first.
    """
    xp = backends.get_backend().xp
    param = xp.ones((size,), dtype=getattr(xp, dtype))
    grad = xp.ones((size,), dtype=getattr(xp, grad_dtype or dtype))
    state = init_state(optimizer, param)
    scalars = as_arrays(scalars_for(optimizer, 0.1, 1), param)
    # Arrays are known by identity, and an optimizer may give one to two slots.
    state = {name: xp.asarray(array, copy=True) for name, array in state.items()}
    recorder = Recorder(xp)
    named: dict[str, Any] = {"param": param, "grad": grad, **state}
    for name, array in (named | {f"scalar.{n}": a for n, a in scalars.items()}).items():
        recorder.input(name, array)
    with recorder.watching():
        if grad_dtype is not None:
            grad = PRIMITIVES["astype"](grad, dtype=param.dtype)
        new, slots = apply_update(optimizer, param, grad, state, scalars)
    outputs = {"param": new, **slots}
    return optimize(recorder.program(outputs, {name: name for name in outputs}))
