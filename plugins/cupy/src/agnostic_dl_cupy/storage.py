"""Many arrays laid end to end: the gradients of an optimizer's group."""

from __future__ import annotations

from typing import Any

from agnostic_dl_cupy.runtime import Runtime


def pack(runtime: Runtime, xp: Any, *arrays: Any) -> Any:
    """As the primitive: arrays of one dtype, end to end, each in C order.

    One copy per array. CuPy's concatenation of more than eight sends a table of addresses from the
    host, which no graph can be captured with.
    """
    if not arrays or not all(runtime.takes(a) and a.dtype == arrays[0].dtype for a in arrays):
        return NotImplemented
    out, start = runtime.empty((sum(a.size for a in arrays),), arrays[0].dtype), 0
    with runtime.current():
        for array in arrays:
            out[start : start + array.size].reshape(array.shape)[...] = array
            start += array.size
    return out
