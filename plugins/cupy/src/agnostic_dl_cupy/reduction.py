"""Sums over rows, and what reductions share: their pieces, and threads with several neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from agnostic_dl_cupy.runtime import ALIGNED, Launcher, Runtime, supported

_UNIT = "reduction"
_THREADS = 256
#: The address of an array that is not there.
NOWHERE = np.uint64(0)
#: Channels that a block joins the pieces of.
JOINED = 8


def sum_over_rows(
    runtime: Runtime, xp: Any, x: Any, *, axis: Any = None, dtype: Any = None,
    keepdims: bool = False,
) -> Any:  # fmt: skip
    """As the primitive `sum`, over all axes but the last: the gradient of a bias, say.

    CuPy would have one block sum up to 32 channels, however many rows there are.
    """
    if dtype is not None or not supported(runtime, x) or not _all_but_the_last(axis, x.ndim):
        return NotImplemented
    launcher, x = Launcher(runtime, x.dtype), runtime.contiguous(x)
    partial = pieces(launcher, _UNIT, "sum_partial", (x.shape[-1],), (x,))
    shape = (*[1] * (x.ndim - 1), x.shape[-1]) if keepdims else x.shape[-1:]
    if len(partial) == 1 and partial.dtype == x.dtype:
        return partial.reshape(shape)
    out = launcher.empty(shape)
    join(launcher, _UNIT, "sum_finish", partial, out)
    return out


def dot(runtime: Runtime, x: Any, y: Any) -> Any:
    """The product of two vectors (K,), 0-d: whether all gradients are finite is asked by it."""
    launcher, size = Launcher(runtime, x.dtype), x.size
    x, y = runtime.contiguous(x), runtime.contiguous(y)
    aligned = all(runtime.pointer(a) % ALIGNED == 0 for a in (x, y))
    threads = min(_THREADS, runtime.threads)
    blocks = max(min(size // (32 * threads), 512), 1)
    partial = runtime.empty((blocks, 1), launcher.accumulator)
    launcher.grid(
        _UNIT, "dot_partial", (blocks,), threads, x, y, partial, np.int64(size), np.int32(aligned)
    )
    out = launcher.empty(())
    join(launcher, _UNIT, "sum_finish", partial, out)
    return out


def _all_but_the_last(axis: Any, dimensions: int) -> bool:
    if dimensions < 2 or axis is None:
        return False
    axes = axis if isinstance(axis, tuple) else (axis,)
    return sorted(a % dimensions for a in axes) == list(range(dimensions - 1))


def packed(launcher: Launcher, images: Any) -> int:
    """How many neighbours a thread has: as many as 16 bytes hold, where the images allow that."""
    width = ALIGNED // launcher.dtype.itemsize
    there = [a for a in images if a is not NOWHERE]
    fits = there[0].shape[-1] % width == 0
    aligned = all(launcher.runtime.pointer(a) % ALIGNED == 0 for a in there)
    return width if fits and aligned else 1


def pieces(
    launcher: Launcher, unit: str, kernel: str, shape: tuple[int, ...], arrays: Any,
    images: Any = None,
) -> Any:  # fmt: skip
    """Reduce pieces of the rows of the first of *arrays*: (pieces, *shape)."""
    channels, threads = arrays[0].shape[-1], min(_THREADS, launcher.runtime.threads)
    rows, width = arrays[0].size // channels, packed(launcher, images or arrays)
    groups = channels // width
    lanes = min(32, 1 << (groups - 1).bit_length())
    wide, lines = -(-groups // lanes), threads // lanes
    # A thread sums at least eight rows, and few rows are one piece: joining costs more than that.
    count = max(min(rows // (8 * lines), launcher.runtime.enough_blocks // wide, 512), 1)
    count = count if rows > 64 * lines else 1
    partial = launcher.runtime.empty((count, *shape), launcher.accumulator)
    launcher.grid(
        unit, kernel, (wide, count), threads, *arrays, partial, np.int64(rows),
        np.int32(channels), np.int32(lanes), np.int32(width > 1),
    )  # fmt: skip
    return partial


def join(
    launcher: Launcher, unit: str, kernel: str, partial: Any, *arguments: Any, last: Any = ()
) -> None:
    """Launch the kernel that joins the pieces; blocks of a few channels, and many lines."""
    count, channels = partial.shape[0], partial.shape[-1]
    threads = min(_THREADS, launcher.runtime.threads)
    launcher.grid(
        unit, kernel, (-(-channels // JOINED),), threads, partial, *arguments, np.int32(count),
        np.int32(channels), np.int32(JOINED), *last,
    )  # fmt: skip
