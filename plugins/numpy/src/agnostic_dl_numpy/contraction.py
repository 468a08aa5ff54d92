"""Products of two matrices: the rows of the result are shared out over the pool's threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from agnostic_dl_numpy import blas, scratch, threads
from agnostic_dl_numpy.checks import takes

# Multiplications from which OpenBLAS would call its threads, which then spin for a while and take
# the cores from ours; and from which a second thread is worth its while.
_THREADED, _WORTHWHILE = 1 << 18, 1 << 21


def matmul(xp: Any, x: Any, y: Any) -> Any:
    """As the primitive, for two large matrices."""
    if not _large(x, y):
        return NotImplemented
    return _product(x, y, None)


def linear(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    """As the primitive: x (..., in) times weight (in, out), plus bias (out,)."""
    if not takes(x, weight, bias):
        return NotImplemented
    rows = x.reshape(-1, x.shape[-1])
    if _large(rows, weight):
        out = _product(rows, weight, bias)
    else:
        out = np.matmul(rows, weight)
        np.add(out, bias, out=out)
    return out.reshape(*x.shape[:-1], -1)


def _large(x: Any, y: Any) -> bool:
    if not takes(x, y) or x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[0]:
        return False
    return x.size * y.shape[1] >= _THREADED and blas.controllable()


def _product(x: Any, y: Any, bias: Any) -> Any:
    """Shares of the longer side: each thread packs the other operand for itself."""
    out = scratch.result((x.shape[0], y.shape[1]), dtype=x.dtype)
    tall = x.shape[0] >= y.shape[1]
    parts = threads.thread_count() if x.size * y.shape[1] >= _WORTHWHILE else 1
    plan = threads.ranges(max(out.shape), parts)

    def multiply(index: int) -> None:
        share = slice(*plan[index])
        if tall:
            np.matmul(x[share], y, out=out[share])
        else:
            np.matmul(x, y[:, share], out=out[:, share])
        if bias is not None:
            part = out[share] if tall else out[:, share]
            np.add(part, bias if tall else bias[share], out=part)

    threads.spread(multiply, len(plan), products=True)
    return out
