"""Passes over arrays (M, C) with one number per channel, as long rows and in cache-sized pieces.

NumPy's loops run along the last axis: over a few channels they cost more to begin than to run. So
rows are laid end to end, (M / fold, fold · C), and what there is per channel is repeated alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agnostic_dl_numpy import scratch, threads
from agnostic_dl_numpy.checks import takes

# Elements of a row that is worth a loop of its own.
_RUN = 2048
# Float32 totals are of at most so many rows; beyond that they are added up in float64.
_ROWS = 128

Arrays = Sequence[Any]


def rows(x: Any) -> Any:
    """x (..., C) as (M, C), a view where it can be."""
    return x.reshape(-1, x.shape[-1])


def apply(work: Callable[..., Any], arrays: Arrays, vectors: Arrays) -> None:
    """Call *work(*arrays, *vectors)* on pieces of arrays (M, C), some of them outputs."""
    for long, wide in _laid_out(arrays, vectors):
        plan = _plan(long)

        def run(index: int, long: Arrays = long, wide: Arrays = wide, plan: Any = plan) -> None:
            piece = slice(*plan[index])
            work(*(x[piece] for x in long), *wide)

        threads.spread(run, len(plan))


def totals(count: int, make: Callable[..., Any], arrays: Arrays, vectors: Arrays) -> Any:
    """Column sums in float64 of the *count* matrices that *make(*arrays, *vectors)* returns.

    *make* is given pieces of the arrays (M, C); what it returns is not kept. (count, C).
    """
    channels = arrays[0].shape[1]
    total = np.zeros((count, channels), dtype=np.float64)
    for long, wide in _laid_out(arrays, vectors):
        plan = _plan(long)
        partial = np.empty((len(plan), count, long[0].shape[1]), dtype=np.float64)

        def run(
            index: int, long: Arrays = long, wide: Arrays = wide, plan: Any = plan,
            partial: Any = partial,
        ) -> None:  # fmt: skip
            piece = slice(*plan[index])
            for k, matrix in enumerate(make(*(x[piece] for x in long), *wide)):
                partial[index, k] = _column_sums(matrix)

        threads.spread(run, len(plan))
        folded = np.add.reduce(partial, axis=0).reshape(count, -1, channels)
        total += np.add.reduce(folded, axis=1)
    return total


def sums(x: Any) -> Any:
    """Σ over the rows of x (M, C), in float64."""
    return totals(1, lambda piece: (piece,), (x,), ())[0]


def add_row(x: Any, row: Any) -> None:
    """Add a row (C,) to every row of x (M, C), in place, along long rows."""
    for (long,), (wide,) in _laid_out((x,), (row,)):
        np.add(long, wide, out=long)


def _laid_out(arrays: Arrays, vectors: Arrays) -> list[tuple[Arrays, Arrays]]:
    """The arrays as long rows with the vectors repeated, and the rows that are left over."""
    m, c = arrays[0].shape
    fold = max(min(_RUN // c, m), 1)
    even = m - m % fold
    laid: list[tuple[Arrays, Arrays]] = [
        ([x[:even].reshape(-1, fold * c) for x in arrays], [np.tile(v, fold) for v in vectors])
    ]
    if even < m:
        laid.append(([x[even:] for x in arrays], vectors))
    return laid


def _plan(arrays: Arrays) -> list[tuple[int, int]]:
    length, width = arrays[0].shape
    if length * width < threads.WORTHWHILE:
        return [(0, length)]
    return threads.pieces(length, max(scratch.PIECE // (2 * arrays[0][0].nbytes), 1))


def _column_sums(x: Any) -> Any:
    total = np.zeros(x.shape[1], dtype=np.float64)
    for start in range(0, len(x), _ROWS):
        total += np.add.reduce(x[start : start + _ROWS], axis=0)
    return total


def sum(xp: Any, x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """As the primitive, where all axes but the last of a large array are summed."""
    if dtype is not None or axis is None or not takes(x) or x.size < threads.WORTHWHILE:
        return NotImplemented
    axes = axis if isinstance(axis, tuple) else (axis,)
    if x.ndim < 2 or sorted(a % x.ndim for a in axes) != [*range(x.ndim - 1)]:
        return NotImplemented
    total = sums(rows(x)).astype(x.dtype)
    return total.reshape((*(1,) * (x.ndim - 1), -1)) if keepdims else total
