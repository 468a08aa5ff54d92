"""Max and average pooling and their adjoints."""

from __future__ import annotations

from typing import Any

import numpy as np

from agnostic_dl_cupy.runtime import Launcher, Runtime, supported

_UNIT = "pooling"

Pair = tuple[int, int]
Borders = tuple[Pair, Pair]


def max_pool2d(
    runtime: Runtime, xp: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Borders
) -> Any:
    """As the primitive: the largest value of each window; borders never win."""
    if not _takes(runtime, (x,), kernel, padding):
        return NotImplemented
    return _pool(runtime, "max_pool2d", x, (), kernel, stride, padding)


def avg_pool2d(
    runtime: Runtime, xp: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Borders,
    count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """As the primitive: the mean of each window."""
    if not _takes(runtime, (x,), kernel, padding):
        return NotImplemented
    return _pool(runtime, "avg_pool2d", x, (np.int32(count_include_pad),), kernel, stride, padding)


def max_pool2d_grad(
    runtime: Runtime, xp: Any, g: Any, x: Any, out: Any, *, kernel: Pair, stride: Pair,
    padding: Borders,
) -> Any:  # fmt: skip
    """As the primitive: each g goes to the first winner of its window."""
    if not _takes(runtime, (g, x, out), kernel, padding) or g.shape != out.shape:
        return NotImplemented
    launcher = Launcher(runtime, x.dtype)
    gradient = launcher.empty(x.shape)
    geometry = _geometry(x.shape, (g.shape[1], g.shape[2]), kernel, stride, padding)
    arrays = [runtime.contiguous(a) for a in (g, x, out)]
    launcher.each(_UNIT, "max_pool2d_grad", x.size, *arrays, gradient, np.int64(x.size), *geometry)
    return gradient


def avg_pool2d_grad(
    runtime: Runtime, xp: Any, g: Any, *, size: Pair, kernel: Pair, stride: Pair,
    padding: Borders, count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """As the primitive: each g is shared out over its window."""
    if not _takes(runtime, (g,), kernel, padding):
        return NotImplemented
    launcher = Launcher(runtime, g.dtype)
    gradient = launcher.empty((g.shape[0], *size, g.shape[3]))
    if gradient.size == 0:
        return NotImplemented
    geometry = _geometry(gradient.shape, (g.shape[1], g.shape[2]), kernel, stride, padding)
    launcher.each(
        _UNIT, "avg_pool2d_grad", gradient.size, runtime.contiguous(g), gradient,
        np.int64(gradient.size), *geometry, np.int32(count_include_pad),
    )  # fmt: skip
    return gradient


def _takes(runtime: Runtime, arrays: Any, kernel: Pair, padding: Borders) -> bool:
    """Images of one dtype, with borders that no window lies wholly in and none is cut off."""
    inside = all(0 <= b < kernel[axis] for axis in (0, 1) for b in padding[axis])
    return inside and supported(runtime, *arrays) and all(a.ndim == 4 for a in arrays)


def _pool(
    runtime: Runtime, name: str, x: Any, further: Any, kernel: Pair, stride: Pair, padding: Borders
) -> Any:
    rows, columns = (
        (x.shape[1 + a] + sum(padding[a]) - kernel[a]) // stride[a] + 1 for a in (0, 1)
    )
    if rows < 1 or columns < 1:
        return NotImplemented  # the reference says what is wrong
    launcher, x = Launcher(runtime, x.dtype), runtime.contiguous(x)
    out = launcher.empty((x.shape[0], rows, columns, x.shape[3]))
    geometry = _geometry(x.shape, (rows, columns), kernel, stride, padding)
    launcher.each(_UNIT, name, out.size, x, out, np.int64(out.size), *geometry, *further)
    return out


def _geometry(
    shape: tuple[int, ...], out: Pair, kernel: Pair, stride: Pair, padding: Borders
) -> list[Any]:
    """The kernels' GEOMETRY; the far borders show in the size of *out* alone."""
    numbers = (*shape[1:], *out, *kernel, *stride, padding[0][0], padding[1][0])
    return [np.int32(number) for number in numbers]
