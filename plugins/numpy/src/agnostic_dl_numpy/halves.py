"""Short floats on the CPU, which has no arithmetic for them: computed in float32, rounded once.

That is what a GPU's products do, so a step in mixed precision can be checked here; it is not fast.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from agnostic_dl.extend import PRIMITIVES
from agnostic_dl_numpy import scratch


@cache
def dtypes() -> dict[str, Any]:
    """The short floats by name; bfloat16 where `ml_dtypes` brings it."""
    known = {"float16": np.dtype(np.float16)}
    try:
        import ml_dtypes
    except ImportError:
        return known
    return {**known, "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def takes(*arrays: Any) -> bool:
    """Whether all are arrays of one short float."""
    dtype = getattr(arrays[0], "dtype", None)
    if dtype not in dtypes().values():
        return False
    return all(type(a) is np.ndarray and a.dtype == dtype for a in arrays)


def widened(name: str, xp: Any, *arrays: Any, **static: Any) -> Any:
    """As the primitive of that name, by whatever kernel float32 has for it."""
    if not takes(*arrays):
        return NotImplemented
    wide = tuple(a.astype(np.float32) for a in arrays)
    found = PRIMITIVES[name].compute(wide, static)
    out = scratch.result(found.shape, arrays[0].dtype)
    with np.errstate(over="ignore"):  # beyond float16's range it is infinite
        np.copyto(out, found, casting="unsafe")
    return out


def conv2d_bias(
    xp: Any, x: Any, weight: Any, bias: Any, *, relu: bool = False, **static: Any
) -> Any:
    """As the primitive, rounded in between as its parts are by themselves."""
    if not takes(x, weight, bias):
        return NotImplemented
    out = np.add(widened("conv2d", xp, x, weight, **static), bias)
    return np.maximum(out, np.zeros((), out.dtype), out=out) if relu else out


def clip(xp: Any, x: Any, min: Any = None, max: Any = None) -> Any:
    """As the primitive; NumPy has no loop of it for bfloat16."""
    limits = [m if m is None or isinstance(m, (int, float)) else _wide(x, m) for m in (min, max)]
    wide = _wide(x, x)
    if wide is NotImplemented or any(m is NotImplemented for m in limits):
        return NotImplemented
    return xp.clip(wide, *limits).astype(x.dtype)


def _wide(x: Any, other: Any) -> Any:
    return other.astype(np.float32) if takes(x, other) else NotImplemented


#: To be asked last: they call the kernels that decline short floats.
KERNELS: dict[str, Callable[..., Any]] = {
    "clip": clip,
    "conv2d_bias": conv2d_bias,
    **{
        name: partial(widened, name)
        for name in (
            "matmul", "linear", "conv2d", "conv2d_input_grad", "conv2d_weight_grad",
            "max_pool2d", "max_pool2d_grad", "avg_pool2d", "avg_pool2d_grad",
        )
    },
}  # fmt: skip
