"""Windows of an image as the rows of a matrix (im2col), one cache-sized block at a time.

A block is (n0, n1, h0, h1): rows h0..h1 of the output, of the images n0..n1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from agnostic_dl_numpy import scratch, threads

Pair = tuple[int, int]
Borders = tuple[Pair, Pair]
Block = tuple[int, int, int, int]

# With so few channels a window's row is a run of a few floats: copy along the image's rows instead.
_FEW_CHANNELS = 4


class Windows(NamedTuple):
    """Where the windows lie: *size* is how many there are, down and across."""

    kernel: Pair
    size: Pair
    stride: Pair
    padding: Borders
    dilation: Pair


def blocks(images: int, rows: int, row_bytes: int) -> list[Block]:
    """Cut *images* of so many output *rows* into blocks that stay in the cache."""
    image_bytes = rows * row_bytes
    if image_bytes <= scratch.PIECE and images >= threads.thread_count():
        whole = threads.pieces(images, scratch.PIECE // image_bytes)
        return [(start, stop, 0, rows) for start, stop in whole]
    parts = max(-(-image_bytes // scratch.PIECE), -(-threads.thread_count() // images))
    strips = threads.ranges(rows, parts)
    return [(n, n + 1, *strip) for n in range(images) for strip in strips]


def few_channels(x: Any, windows: Windows) -> bool:
    """Whether the columns of x are better made plane by plane."""
    return x.shape[3] <= _FEW_CHANNELS and windows.kernel != (1, 1)


def columns(x: Any, block: Block, windows: Windows) -> Any:
    """The windows of x (N, H, W, C) in a block, as (windows, kh · kw · C); valid until the next."""
    planar = few_channels(x, windows)
    image, (n, h, w, c) = (
        bordered(x, block, windows, planar=planar),
        _block_shape(x, block, windows),
    )
    sn, sh, sw, sc = image.strides
    (kh, kw), (stride, dilation) = windows.kernel, (windows.stride, windows.dilation)
    view = np.lib.stride_tricks.as_strided(
        image,
        (n, h, w, kh, kw, c),
        (sn, sh * stride[0], sw * stride[1], sh * dilation[0], sw * dilation[1], sc),
        writeable=False,
    )
    if view.flags.c_contiguous:
        return view.reshape(n * h * w, kh * kw * c)
    if planar:
        matrix = scratch.take("columns", (kh, kw, c, n, h, w), x.dtype)
        np.copyto(matrix, view.transpose(3, 4, 5, 0, 1, 2))
        return matrix.reshape(kh * kw * c, n * h * w).T  # BLAS reads either order
    matrix = scratch.take("columns", view.shape, x.dtype)
    np.copyto(matrix, view)
    return matrix.reshape(n * h * w, kh * kw * c)


def _block_shape(x: Any, block: Block, windows: Windows) -> tuple[int, int, int, int]:
    return block[1] - block[0], block[3] - block[2], windows.size[1], x.shape[3]


def bordered(
    x: Any, block: Block, windows: Windows, *, planar: bool = False, around: float = 0.0
) -> Any:
    """What the windows of a block see of x: a view of it, or a copy with borders of *around*."""
    n0, n1, h0, h1 = block
    top, height = span((h0, h1), windows, 0)
    left, width = span((0, windows.size[1]), windows, 1)
    rows, columns = overlap(x.shape[1], height, top), overlap(x.shape[2], width, left)
    if (rows.stop - rows.start, columns.stop - columns.start) == (height, width):
        return x[n0:n1, rows, columns]
    n, c = n1 - n0, x.shape[3]
    if planar:
        image = scratch.take("image", (c, n, height, width), x.dtype).transpose(1, 2, 3, 0)
    else:
        image = scratch.take("image", (n, height, width, c), x.dtype)
    place(image, x[n0:n1, rows, columns], rows.start - top, columns.start - left, around)
    return image


def spread_back(
    dx: Any, images: Pair, windows: Windows, write: Callable[[Any], None], buffer: str = "image"
) -> None:
    """The adjoint of `bordered` for whole images of dx (N, H, W, C).

    *write* writes all that the windows reach, and dx takes what lies inside it, amid zeros.
    """
    top, height = span((0, windows.size[0]), windows, 0)
    left, width = span((0, windows.size[1]), windows, 1)
    rows, columns = overlap(dx.shape[1], height, top), overlap(dx.shape[2], width, left)
    part = dx[slice(*images)]
    h, w = rows.stop - rows.start, columns.stop - columns.start
    if (h, w) == (height, width):
        fill_around(part, rows, columns, 0.0)
        write(part[:, rows, columns])
        return
    image = scratch.take(buffer, (len(part), height, width, dx.shape[3]), dx.dtype)
    write(image)
    down, right = max(rows.start - top, 0), max(columns.start - left, 0)
    place(part, image[:, down : down + h, right : right + w], rows.start, columns.start)


def along(x: Any, axis: int, k: int, windows: Windows) -> Any:
    """Place *k* of every window along one axis (0: down, 1: across) of (N, H, W, C)."""
    first, stride = k * windows.dilation[axis], windows.stride[axis]
    places = slice(first, first + (windows.size[axis] - 1) * stride + 1, stride)
    return x[:, places] if axis == 0 else x[:, :, places]


def window_counts(size: Pair, kernel: Pair, stride: Pair, padding: Borders, dilation: Pair) -> Pair:
    """How many windows fit, down and across."""
    return tuple(  # type: ignore[return-value]
        (size[a] + sum(padding[a]) - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1
        for a in (0, 1)
    )


def span(out: Pair, windows: Windows, axis: int) -> Pair:
    """First place of the image, and how many, that the windows *out* of an axis reach."""
    stride, reach = windows.stride[axis], windows.dilation[axis] * (windows.kernel[axis] - 1)
    start = out[0] * stride - windows.padding[axis][0]
    return start, (out[1] - out[0] - 1) * stride + reach + 1


def overlap(size: int, length: int, start: int) -> slice:
    """What start..start + length and 0..size have in common, perhaps nothing."""
    first = min(max(start, 0), size)
    return slice(first, max(min(start + length, size), first))


def place(image: Any, part: Any, top: int, left: int, around: float = 0.0) -> None:
    """Copy *part* (N, h, w, C) into *image* with its corner at (top, left), and fill the rest."""
    if part.size == 0:
        image.fill(around)
        return
    rows, columns = slice(top, top + part.shape[1]), slice(left, left + part.shape[2])
    fill_around(image, rows, columns, around)
    np.copyto(image[:, rows, columns], part)


def fill_around(image: Any, rows: slice, columns: slice, value: float) -> None:
    """Set *image* to *value* outside of the rectangle of these rows and columns."""
    for border in (
        image[:, : rows.start],
        image[:, rows.stop :],
        image[:, rows, : columns.start],
        image[:, rows, columns.stop :],
    ):
        if border.size > 0:
            border.fill(value)
