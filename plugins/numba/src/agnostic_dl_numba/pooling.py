"""Pooling and its adjoints, over the images of a batch by the NumPy backend's threads."""

from __future__ import annotations

from ctypes import c_ssize_t, c_void_p
from functools import lru_cache
from typing import Any

import numpy as np

from agnostic_dl_numba.compiled import compiled
from agnostic_dl_numba.windows import POINTERS, text
from agnostic_dl_numpy import scratch, threads
from agnostic_dl_numpy.checks import takes
from agnostic_dl_numpy.columns import window_counts

Pair = tuple[int, int]
Borders = tuple[Pair, Pair]

#: Places of a window, at most: their loop is written out for each of them.
_PLACES = 16
#: Channels, at least: the loops are over them.
_CHANNELS = 4
#: Elements of a piece of the batch.
_PIECE = 1 << 16


def max_pool2d(xp: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Borders) -> Any:
    """As the primitive: the largest value of each window, (N, H, W, C) → (N, H', W', C)."""
    pool = _pool("max", x, x.shape[1:3], kernel, stride, padding)
    if pool is None:
        return NotImplemented
    out = scratch.result(pool.out, x.dtype)
    pool(x=x, out=out)
    return out


def max_pool2d_grad(
    xp: Any, g: Any, x: Any, out: Any, *, kernel: Pair, stride: Pair, padding: Borders
) -> Any:
    """As the primitive: each g goes to the first winner of its window, in C order."""
    pool = _pool("max_grad", x, x.shape[1:3], kernel, stride, padding)
    if pool is None or not _lie_in_order(x, g, out) or not g.shape == out.shape == pool.out:
        return NotImplemented
    dx = scratch.result(x.shape, x.dtype)
    pool(x=x, out=out, grad=g, dx=dx)
    return dx


def avg_pool2d(
    xp: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Borders, count_include_pad: bool = True
) -> Any:
    """As the primitive: the mean of each window, (N, H, W, C) → (N, H', W', C)."""
    pool = _pool("avg", x, x.shape[1:3], kernel, stride, padding)
    scale = None if pool is None else pool.factors(count_include_pad)
    if pool is None or scale is None:
        return NotImplemented
    out = scratch.result(pool.out, x.dtype)
    pool(x=x, out=out, scale=scale)
    return out


def avg_pool2d_grad(
    xp: Any, g: Any, *, size: Pair, kernel: Pair, stride: Pair, padding: Borders,
    count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """As the primitive: g (N, H', W', C) → (N, H, W, C) with *size* = (H, W)."""
    pool = _pool("avg_grad", g, size, kernel, stride, padding)
    scale = None if pool is None else pool.factors(count_include_pad)
    if pool is None or scale is None or g.shape != pool.out:
        return NotImplemented
    dx = scratch.result((g.shape[0], *size, g.shape[3]), g.dtype)
    pool(grad=g, dx=dx, scale=scale)
    return dx


def _lie_in_order(*arrays: Any) -> bool:
    return takes(*arrays) and all(a.ndim == 4 and a.flags.c_contiguous for a in arrays)


def _pool(
    kind: str, like: Any, size: Pair, kernel: Pair, stride: Pair, padding: Borders
) -> Pool | None:
    """The pooling of images (H, W) = *size* in the batch and channels of *like*, if it is taken."""
    if not _lie_in_order(like) or kernel[0] * kernel[1] > _PLACES:
        return None
    batch, channels = like.shape[0], like.shape[3]
    if channels < _CHANNELS:
        return None
    return _made(kind, batch, (*size,), channels, like.dtype.name, kernel, stride, padding)


@lru_cache(256)
def _made(
    kind: str, batch: int, size: Pair, channels: int, dtype: str, kernel: Pair, stride: Pair,
    padding: Borders,
) -> Pool | None:  # fmt: skip
    counts = window_counts(size, kernel, stride, padding, (1, 1))
    if min(counts) < 1 or min(size) < 1 or min(map(min, padding)) < 0:
        return None
    pool = Pool(batch, size, channels, dtype, counts, kernel, stride, padding)
    return pool if pool.compile(kind) else None


class Pool:
    """One kind of pooling of one shape."""

    def __init__(
        self, batch: int, size: Pair, channels: int, dtype: str, counts: Pair, kernel: Pair,
        stride: Pair, padding: Borders,
    ) -> None:  # fmt: skip
        self.size, self.counts, self.dtype = size, counts, dtype
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.out = (batch, *counts, channels)
        (top, _), (left, _) = padding
        self._shape = np.array([*size, channels, *counts, *stride, top, left], np.intp)
        self._pieces = max(_PIECE // (size[0] * size[1] * channels), 1)
        self._ones = np.ones(counts, dtype)

    def compile(self, kind: str) -> bool:
        """Make the loop ready; False where that is not possible."""
        tiled = tuple(c * s for c, s in zip(self.counts, self.stride, strict=True))
        exact = self.kernel == self.stride and tiled == self.size and not np.any(self.padding)
        arguments = (*(f"{self.dtype}*" for _ in POINTERS), "intp*", "intp", "intp")
        found = compiled(text(kind, self.kernel, self.dtype, exact), arguments)
        self._function: Any = found
        return found is not None

    def __call__(self, **arrays: Any) -> None:
        """Compute, with those of the arrays of `POINTERS` that the kind has."""
        held = {"scale": self._ones, **arrays}
        addresses = [c_void_p(held[n].ctypes.data if n in held else None) for n in POINTERS]
        shape = c_void_p(self._shape.ctypes.data)
        plan = [(0, self.out[0])]
        if max(a.size for a in held.values()) >= threads.WORTHWHILE:
            plan = threads.pieces(self.out[0], self._pieces)

        def run(index: int) -> None:
            start, stop = plan[index]
            self._function(*addresses, shape, c_ssize_t(start), c_ssize_t(stop))

        threads.spread(run, len(plan))

    def factors(self, count_borders: bool) -> Any:
        """1 / how many values each window averages, (H', W'); None if one is empty."""
        factors = []
        for axis in (0, 1):
            kernel, (before, _) = self.kernel[axis], self.padding[axis]
            start = np.arange(self.counts[axis]) * self.stride[axis] - before
            inside = np.minimum(start + kernel, self.size[axis]) - np.maximum(start, 0)
            counts = np.full_like(inside, kernel) if count_borders else inside
            if np.any(counts <= 0):
                return None
            factors.append((1.0 / counts).astype(self.dtype))
        return np.ascontiguousarray(factors[0][:, None] * factors[1])
