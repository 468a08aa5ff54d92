"""Convolution and its adjoints as products of matrices over cache-sized blocks of columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from agnostic_dl_numpy import channels, scratch, threads
from agnostic_dl_numpy.checks import takes
from agnostic_dl_numpy.columns import (
    Block,
    Borders,
    Pair,
    Windows,
    along,
    blocks,
    columns,
    spread_back,
    window_counts,
)


def conv2d(
    xp: Any, x: Any, weight: Any, *, stride: Pair, padding: Borders, dilation: Pair, groups: int
) -> Any:
    """As the primitive: x (N, H, W, C), weight (kh, kw, C / groups, O) → (N, H', W', O)."""
    return _forward(x, weight, None, False, stride, padding, dilation, groups)


def conv2d_bias(
    xp: Any, x: Any, weight: Any, bias: Any, *, relu: bool = False, stride: Pair, padding: Borders,
    dilation: Pair, groups: int,
) -> Any:  # fmt: skip
    """As the primitive: what comes after the product is done while its block is in the cache."""
    if not takes(x, bias):
        return NotImplemented
    return _forward(x, weight, bias, relu, stride, padding, dilation, groups)


def _forward(
    x: Any, weight: Any, bias: Any, relu: bool, stride: Pair, padding: Borders, dilation: Pair,
    groups: int,
) -> Any:  # fmt: skip
    if not takes(x, weight):
        return NotImplemented
    kernel = weight.shape[:2]
    size = window_counts(x.shape[1:3], kernel, stride, padding, dilation)
    windows = Windows(kernel, size, stride, padding, dilation)
    if min(windows.size) < 1:
        return NotImplemented
    out = scratch.result((x.shape[0], *windows.size, weight.shape[3]), dtype=x.dtype)
    biases = [None] * groups if bias is None else _split(bias, groups)
    for image, tap, part, shift in zip(
        _split(x, groups), _split(weight, groups), _split(out, groups), biases, strict=True
    ):
        _correlate(image, tap, part, windows, shift, relu)
    return out


def conv2d_input_grad(
    xp: Any, g: Any, weight: Any, *, size: Pair, stride: Pair, padding: Borders, dilation: Pair,
    groups: int,
) -> Any:  # fmt: skip
    """As the primitive: g (N, H', W', O) → (N, H, W, C) with *size* = (H, W)."""
    if not takes(g, weight) or min(size) < 1:
        return NotImplemented
    kernel, depth = weight.shape[:2], weight.shape[2]
    dx = scratch.result((g.shape[0], *size, depth * groups), dtype=g.dtype)
    if stride == (1, 1):
        windows = _turned(g, kernel, size, padding, dilation)
    else:
        windows = Windows(kernel, g.shape[1:3], stride, padding, dilation)
    for part, tap, image in zip(
        _split(g, groups), _split(weight, groups), _split(dx, groups), strict=True
    ):
        if stride == (1, 1):
            # The same convolution with the kernel turned by half a circle: nothing is scattered.
            _correlate(part, tap[::-1, ::-1].transpose(0, 1, 3, 2), image, windows)
        else:
            _scatter(part, tap, image, windows)
    return dx


def conv2d_weight_grad(
    xp: Any, x: Any, g: Any, *, kernel: Pair, stride: Pair, padding: Borders, dilation: Pair,
    groups: int,
) -> Any:  # fmt: skip
    """As the primitive: x (N, H, W, C), g (N, H', W', O) → (kh, kw, C / groups, O)."""
    if not takes(x, g):
        return NotImplemented
    windows = Windows(kernel, g.shape[1:3], stride, padding, dilation)
    dw = scratch.result((*kernel, x.shape[3] // groups, g.shape[3]), dtype=x.dtype)
    for image, part, tap in zip(
        _split(x, groups), _split(g, groups), _split(dw, groups), strict=True
    ):
        tap[...] = _gather(image, part, windows).reshape(tap.shape)
    return dw


def _turned(g: Any, kernel: Pair, size: Pair, padding: Borders, dilation: Pair) -> Windows:
    """The windows of g that see all that one place of the image went into."""
    reach = [dilation[a] * (kernel[a] - 1) for a in (0, 1)]
    borders = tuple(
        (reach[a] - padding[a][0], size[a] + padding[a][0] - g.shape[1 + a]) for a in (0, 1)
    )
    return Windows(kernel, size, (1, 1), borders, dilation)  # type: ignore[arg-type]


def _split(x: Any, groups: int) -> list[Any]:
    """Views of the last axis, group by group."""
    width = x.shape[-1] // groups
    return [x[..., k * width : (k + 1) * width] for k in range(groups)]


def _correlate(
    x: Any, weight: Any, out: Any, windows: Windows, bias: Any = None, relu: bool = False
) -> None:
    """out (N, H', W', O) = windows of x times weight (kh, kw, C, O), plus a bias (O,); or ReLU."""
    matrix = weight.reshape(-1, weight.shape[3])
    plan = _plan(x, out, windows)

    def multiply(index: int) -> None:
        block = plan[index]
        rows = columns(x, block, windows)
        target = _rows(out, block)
        inside = np.may_share_memory(target, out)
        if not inside:  # images of a group do not lie one behind the other
            target = scratch.take("block", target.shape, target.dtype)
        np.matmul(rows, matrix, out=target)
        if bias is not None:
            channels.add_row(target, bias)
        if relu:
            np.maximum(target, 0.0, out=target)
        if not inside:
            n0, n1, h0, h1 = block
            out[n0:n1, h0:h1] = target.reshape(out[n0:n1, h0:h1].shape)

    threads.spread(multiply, len(plan), products=True)


def _gather(x: Any, g: Any, windows: Windows) -> Any:
    """Windows of x, turned over, times g: (kh · kw · C, O), summed over fixed shares of work."""
    plan = _plan(x, g, windows)
    shares = threads.ranges(len(plan), threads.thread_count())
    depth = windows.kernel[0] * windows.kernel[1] * x.shape[3]
    sums = np.zeros((len(shares), depth, g.shape[3]), dtype=x.dtype)

    def accumulate(index: int) -> None:
        product = scratch.take("product", sums.shape[1:], x.dtype)
        for block in plan[slice(*shares[index])]:
            np.matmul(columns(x, block, windows).T, _rows(g, block), out=product)
            np.add(sums[index], product, out=sums[index])

    threads.spread(accumulate, len(shares), products=True)
    return np.add.reduce(sums, axis=0)


def _scatter(g: Any, weight: Any, dx: Any, windows: Windows) -> None:
    """dx (N, H, W, C): each g times each tap of the weight, added where that tap had looked."""
    (kh, kw), stride = windows.kernel, windows.stride
    depth, (rows, across) = weight.shape[2], windows.size
    taps = [weight[i].reshape(kw * depth, -1).T for i in range(kh)]
    image_bytes = g.itemsize * depth * rows * across * (kw + stride[0] * stride[1])
    plan = threads.pieces(len(g), max(scratch.PIECE // image_bytes, 1))

    def add_taps(index: int) -> None:
        start, stop = plan[index]
        part = g[start:stop].reshape(-1, g.shape[3])

        def write(image: Any) -> None:
            image.fill(0.0)
            for i in range(kh):
                rays = scratch.take("columns", (len(part), kw * depth), g.dtype)
                np.matmul(part, taps[i], out=rays)
                rays = rays.reshape(stop - start, rows, across, kw, depth)
                lines = along(image, 0, i, windows)
                for j in range(kw):
                    places = along(lines, 1, j, windows)
                    np.add(places, rays[:, :, :, j], out=places)

        spread_back(dx, plan[index], windows, write)

    threads.spread(add_taps, len(plan), products=True)


def _plan(x: Any, out: Any, windows: Windows) -> list[Block]:
    depth = windows.kernel[0] * windows.kernel[1] * x.shape[3]
    return blocks(out.shape[0], out.shape[1], out.shape[2] * depth * x.itemsize)


def _rows(x: Any, block: Block) -> Any:
    """A block of x (N, H', W', O) as a matrix: a view where its images lie together."""
    n0, n1, h0, h1 = block
    return x[n0:n1, h0:h1].reshape(-1, x.shape[3])
