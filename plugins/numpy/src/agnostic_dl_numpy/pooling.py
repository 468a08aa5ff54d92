"""Max and average pooling, one axis after the other, over cache-sized pieces of the batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from agnostic_dl_numpy import scratch, threads
from agnostic_dl_numpy.checks import takes
from agnostic_dl_numpy.columns import (
    Borders,
    Pair,
    Windows,
    along,
    bordered,
    spread_back,
    window_counts,
)

_ONE = (1, 1)


def max_pool2d(xp: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Borders) -> Any:
    """As the primitive: the largest value of each window, (N, H, W, C) → (N, H', W', C)."""
    windows = _windows(x, kernel, stride, padding)
    if windows is None:
        return NotImplemented
    out = scratch.result((x.shape[0], *windows.size, x.shape[3]), dtype=x.dtype)

    def pool(start: int, stop: int) -> None:
        image = bordered(x, (start, stop, 0, windows.size[0]), windows, around=-math.inf)
        # Down first: its loops run along whole rows, and leave less to the short ones across.
        lines = scratch.take("lines", _lines(image, windows), x.dtype)
        _fold(np.maximum, image, 0, windows, lines)
        _fold(np.maximum, lines, 1, windows, out[start:stop])

    _in_pieces(x, pool)
    return out


def max_pool2d_grad(
    xp: Any, g: Any, x: Any, out: Any, *, kernel: Pair, stride: Pair, padding: Borders
) -> Any:
    """As the primitive: each g goes to the first winner of its window, in C order."""
    windows = _windows(x, kernel, stride, padding)
    if windows is None or not takes(g, x, out):
        return NotImplemented
    dx = scratch.result(x.shape, dtype=x.dtype)

    def share_out(start: int, stop: int) -> None:
        image = bordered(x, (start, stop, 0, windows.size[0]), windows, around=-math.inf)
        pulls, best = g[start:stop], out[start:stop]
        spread_back(
            dx, (start, stop), windows,
            # `image` may lie in the buffer "image": the gradient needs one of its own.
            lambda target: _to_winners(pulls, image, best, windows, target), buffer="gradient",
        )  # fmt: skip

    _in_pieces(x, share_out)
    return dx


def avg_pool2d(
    xp: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Borders, count_include_pad: bool = True
) -> Any:
    """As the primitive: the mean of each window, (N, H, W, C) → (N, H', W', C)."""
    windows = _windows(x, kernel, stride, padding)
    scale = windows and _scale(x.shape[1:3], windows, count_include_pad, x.dtype)
    if windows is None or scale is None:
        return NotImplemented
    out = scratch.result((x.shape[0], *windows.size, x.shape[3]), dtype=x.dtype)

    def pool(start: int, stop: int) -> None:
        image = bordered(x, (start, stop, 0, windows.size[0]), windows)
        lines = scratch.take("lines", _lines(image, windows), x.dtype)
        _fold(np.add, image, 0, windows, lines)
        _fold(np.add, lines, 1, windows, out[start:stop])
        np.multiply(out[start:stop], scale, out=out[start:stop])

    _in_pieces(x, pool)
    return out


def avg_pool2d_grad(
    xp: Any, g: Any, *, size: Pair, kernel: Pair, stride: Pair, padding: Borders,
    count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """As the primitive: g (N, H', W', C) → (N, H, W, C) with *size* = (H, W)."""
    if not takes(g) or min(size) < 1:
        return NotImplemented
    windows = Windows(kernel, g.shape[1:3], stride, padding, _ONE)
    scale = _scale(size, windows, count_include_pad, g.dtype)
    if scale is None:
        return NotImplemented
    dx = scratch.result((g.shape[0], *size, g.shape[3]), dtype=g.dtype)

    def share_out(start: int, stop: int) -> None:
        scaled = scratch.take("lines", g[start:stop].shape, g.dtype)
        np.multiply(g[start:stop], scale, out=scaled)

        def write(image: Any) -> None:
            image.fill(0.0)
            for i in range(kernel[0]):
                for j in range(kernel[1]):
                    place = _place(image, i, j, windows)
                    np.add(place, scaled, out=place)

        spread_back(dx, (start, stop), windows, write)

    _in_pieces(dx, share_out)
    return dx


def _windows(x: Any, kernel: Pair, stride: Pair, padding: Borders) -> Windows | None:
    """None: not for these kernels."""
    if not takes(x):
        return None
    size = window_counts(x.shape[1:3], kernel, stride, padding, _ONE)
    return Windows(kernel, size, stride, padding, _ONE) if min(size) > 0 else None


def _lines(image: Any, windows: Windows) -> tuple[int, ...]:
    return image.shape[0], windows.size[0], image.shape[2], image.shape[3]


def _in_pieces(x: Any, work: Callable[[int, int], None]) -> None:
    """Work on pieces of the batch x, which together with their scratch stay in the cache."""
    plan = threads.pieces(len(x), max(scratch.PASS // x[0].nbytes, 1))
    threads.spread(lambda index: work(*plan[index]), len(plan))


def _fold(combine: Any, x: Any, axis: int, windows: Windows, out: Any) -> None:
    """Combine the places of every window along one axis."""
    count = windows.kernel[axis]
    if count == 1:
        np.copyto(out, along(x, axis, 0, windows))
        return
    combine(along(x, axis, 0, windows), along(x, axis, 1, windows), out=out)
    for k in range(2, count):
        combine(out, along(x, axis, k, windows), out=out)


def _to_winners(g: Any, x: Any, best: Any, windows: Windows, target: Any) -> None:
    """Write to *target*, shaped as x, each g at the first place of its window with the maximum."""
    wins, taken = (scratch.take(name, best.shape, np.bool_) for name in ("wins", "taken"))
    keep = scratch.take("keep", best.shape, best.dtype)
    mask, bits = scratch.as_integers(keep), scratch.as_integers(g)
    _clear_unreached(target, windows)
    for i, j in np.ndindex(*windows.kernel):
        np.equal(_place(x, i, j, windows), best, out=wins)
        if (i, j) == (0, 0):
            np.copyto(taken, wins)
        else:
            np.greater(wins, taken, out=wins)
            np.logical_or(wins, taken, out=taken)
        np.copyto(mask, wins.view(np.int8))
        place = _place(target, i, j, windows)
        if i < windows.stride[0] and j < windows.stride[1]:  # no other window has written here
            np.multiply(mask, bits, out=scratch.as_integers(place))
        else:
            np.multiply(mask, bits, out=mask)
            np.add(place, keep, out=place)


def _place(x: Any, i: int, j: int, windows: Windows) -> Any:
    """Place (i, j) of every window: (N, H', W', C)."""
    return along(along(x, 0, i, windows), 1, j, windows)


def _clear_unreached(target: Any, windows: Windows) -> None:
    """Zeros where the first places of the windows, as many as the stride, do not write."""
    (kh, kw), (down, across) = windows.kernel, windows.stride
    if kh < down or kw < across:
        target.fill(0.0)
        return
    target[:, windows.size[0] * down :].fill(0.0)
    target[:, :, windows.size[1] * across :].fill(0.0)


def _scale(size: Pair, windows: Windows, count_borders: bool, dtype: Any) -> Any:
    """1 / how many values each window averages, (H', W', 1); None if one is empty."""
    factors = []
    for axis in (0, 1):
        kernel = windows.kernel[axis]
        start = np.arange(windows.size[axis]) * windows.stride[axis] - windows.padding[axis][0]
        inside = np.minimum(start + kernel, size[axis]) - np.maximum(start, 0)
        counts = np.full_like(inside, kernel) if count_borders else inside
        if np.any(counts == 0):
            return None
        factors.append((1.0 / counts).astype(dtype))
    return (factors[0][:, None] * factors[1])[:, :, None]
