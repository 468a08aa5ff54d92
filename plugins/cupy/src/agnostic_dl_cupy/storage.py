"""Many arrays laid end to end: the gradients of an optimizer's group."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from agnostic_dl_cupy import templates
from agnostic_dl_cupy.runtime import Launcher, Runtime

#: What one launch takes: addresses, and where each begins. CUDA allows parameters of 4 KiB.
TABLE = np.dtype([("from", "u8", templates.TABLE), ("start", "i8", templates.TABLE + 1)])
#: Blocks that share an array at most.
_BLOCKS = 256


def pack(runtime: Runtime, xp: Any, *arrays: Any) -> Any:
    """As the primitive: arrays of one dtype, end to end, each in C order.

    CuPy's concatenation of more than eight sends a table of addresses from the host, which no graph
    can be captured with.
    """
    if not arrays or not all(runtime.takes(a) and a.dtype == arrays[0].dtype for a in arrays):
        return NotImplemented
    out = runtime.empty((sum(a.size for a in arrays),), arrays[0].dtype)
    if out.dtype.name in templates.STORAGE:
        _by_kernels(runtime, out, [runtime.contiguous(a) for a in arrays if a.size])
    else:
        _by_copies(runtime, out, arrays)
    return out


def _by_kernels(runtime: Runtime, out: Any, arrays: list[Any]) -> None:
    """One launch for as many arrays as a table has."""
    launcher = Launcher(runtime, out.dtype)
    starts = [0, *accumulate(a.size for a in arrays)]
    for first in range(0, len(arrays), templates.TABLE):
        part, table = arrays[first : first + templates.TABLE], np.zeros((), TABLE)
        table["from"][: len(part)] = [runtime.pointer(a) for a in part]
        table["start"][: len(part) + 1] = starts[first : first + len(part) + 1]
        wide = min(-(-max(a.size for a in part) // (4 * runtime.threads)), _BLOCKS)
        launcher.grid("storage", "pack", (wide, len(part)), runtime.threads, table, out)


def _by_copies(runtime: Runtime, out: Any, arrays: Any) -> None:
    """Of dtypes without kernels: one copy for each array."""
    start = 0
    with runtime.current():
        for array in arrays:
            out[start : start + array.size].reshape(array.shape)[...] = array
            start += array.size
