"""Max and average pooling of (N, H, W, C) and their adjoints, by strided slices."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.convolution import (
    Borders,
    Pair,
    pad_image,
    spread_out,
    window_count,
    window_slice,
)
from agnostic_dl.primitives.definition import primitive, zero

_ONE = (1, 1)


def _out_size(x: Any, kernel: Pair, stride: Pair, padding: Borders) -> Pair:
    return (
        window_count(x.shape[1], kernel[0], stride[0], padding[0]),
        window_count(x.shape[2], kernel[1], stride[1], padding[1]),
    )


def _places(kernel: Pair) -> list[Pair]:
    return [(i, j) for i in range(kernel[0]) for j in range(kernel[1])]


def _put_back(xp: Any, piece: Any, at: Pair, padded_size: Pair, stride: Pair) -> Any:
    """Adjoint of window_slice: (N, H', W', C) on a padded image of zeros."""
    spread = spread_out(xp, piece, stride)
    borders: Any = tuple((at[a], padded_size[a] - at[a] - spread.shape[1 + a]) for a in (0, 1))
    return pad_image(xp, spread, borders)


def _crop(x: Any, size: Pair, padding: Borders) -> Any:
    (top, _), (left, _) = padding
    return x[:, top : top + size[0], left : left + size[1], :]


def _padded_size(size: Pair, padding: Borders, kernel: Pair, out: Pair, stride: Pair) -> Pair:
    """Height and width with borders, cut to what the windows reach."""
    return tuple(  # type: ignore[return-value]
        max(size[a] + sum(padding[a]), (out[a] - 1) * stride[a] + kernel[a]) for a in (0, 1)
    )


# -- max pooling -------------------------------------------------------------------------------


@primitive
def max_pool2d(xp: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Borders) -> Any:
    """Largest value of each window: (N, H, W, C) → (N, H', W', C); borders never win."""
    size, padded = _out_size(x, kernel, stride, padding), pad_image(xp, x, padding, -math.inf)
    out: Any = None
    for at in _places(kernel):
        window = window_slice(padded, at, size, stride, _ONE)
        out = window if out is None else xp.maximum(out, window)
    # A window of one element is a view of x: results of primitives are their own arrays.
    return xp.asarray(out, copy=True) if kernel == _ONE else out


def _winners(xp: Any, x: Any, out: Any, kernel: Pair, stride: Pair, padding: Borders) -> Any:
    """For each place of the window, in C order: where it holds the first of the largest values."""
    padded, taken = pad_image(xp, x, padding, -math.inf), None
    for at in _places(kernel):
        window = window_slice(padded, at, (out.shape[1], out.shape[2]), stride, _ONE)
        wins = xp.equal(window, out)
        if taken is None:
            taken = wins
        else:
            wins = xp.logical_and(wins, xp.logical_not(taken))
            taken = xp.logical_or(taken, wins)
        yield at, wins


@primitive
def max_pool2d_grad(
    xp: Any, g: Any, x: Any, out: Any, *, kernel: Pair, stride: Pair, padding: Borders
) -> Any:
    """Adjoint of max_pool2d: each g of (N, H', W', C) goes to the first winner of its window."""
    size = (x.shape[1], x.shape[2])
    padded = _padded_size(size, padding, kernel, (g.shape[1], g.shape[2]), stride)
    total: Any = None
    for at, wins in _winners(xp, x, out, kernel, stride, padding):
        piece = _put_back(xp, xp.where(wins, g, xp.zeros_like(g)), at, padded, stride)
        total = piece if total is None else xp.add(total, piece)
    return _crop(total, size, padding)


@primitive
def max_pool2d_pick(
    xp: Any, t: Any, x: Any, out: Any, *, kernel: Pair, stride: Pair, padding: Borders
) -> Any:
    """The values of t (N, H, W, C) where x wins its windows: (N, H', W', C)."""
    padded, picked = pad_image(xp, t, padding), None
    size = (out.shape[1], out.shape[2])
    for at, wins in _winners(xp, x, out, kernel, stride, padding):
        window = window_slice(padded, at, size, stride, _ONE)
        window = xp.where(wins, window, xp.zeros_like(window))
        picked = window if picked is None else xp.add(picked, window)
    return picked


max_pool2d.defvjp(lambda xp, g, out, x, **static: xp.max_pool2d_grad(g, x, out, **static))
max_pool2d_grad.defvjp(
    lambda xp, t, _, g, x, out, **static: xp.max_pool2d_pick(t, x, out, **static), zero, zero
)
max_pool2d_pick.defvjp(
    lambda xp, g, _, t, x, out, **static: xp.max_pool2d_grad(g, x, out, **static), zero, zero
)


# The two together, where the forward pass remembers who won; see fusion.py.


@primitive
def max_pool2d_winners(
    xp: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Borders
) -> tuple[Any, Any]:
    """max_pool2d, and for each window the place of its winner, counted in C order, as uint8.

    A window with a NaN has no winner: 0 stands for it here, where max_pool2d_grad leaves it out.
    """
    out = max_pool2d.forward(xp, x, kernel=kernel, stride=stride, padding=padding)
    winner = xp.zeros_like(out, dtype=xp.uint8)
    for (i, j), wins in _winners(xp, x, out, kernel, stride, padding):
        place = xp.full_like(winner, i * kernel[1] + j)
        winner = xp.where(wins, place, winner)
    return out, winner


@primitive
def max_pool2d_route(
    xp: Any, g: Any, winner: Any, *, size: Pair, kernel: Pair, stride: Pair, padding: Borders
) -> Any:
    """Adjoint of max_pool2d by its winners: g (N, H', W', C) → (N, H, W, C), *size* = (H, W)."""
    padded = _padded_size(size, padding, kernel, (g.shape[1], g.shape[2]), stride)
    total: Any = None
    for place, at in enumerate(_places(kernel)):
        wins = xp.equal(winner, place)
        piece = _put_back(xp, xp.where(wins, g, xp.zeros_like(g)), at, padded, stride)
        total = piece if total is None else xp.add(total, piece)
    return _crop(total, size, padding)


@primitive
def max_pool2d_gather(
    xp: Any, t: Any, winner: Any, *, kernel: Pair, stride: Pair, padding: Borders
) -> Any:
    """The values of t (N, H, W, C) at the winners of windows: (N, H', W', C)."""
    padded, picked = pad_image(xp, t, padding), None
    size = (winner.shape[1], winner.shape[2])
    for place, at in enumerate(_places(kernel)):
        window = window_slice(padded, at, size, stride, _ONE)
        window = xp.where(xp.equal(winner, place), window, xp.zeros_like(window))
        picked = window if picked is None else xp.add(picked, window)
    return picked


def _winners_rule(
    xp: Any, g: tuple[Any, ...], out: tuple[Any, ...], x: Any, **static: Any
) -> list[Any]:
    return [xp.max_pool2d_route(g[0], out[1], size=(x.shape[1], x.shape[2]), **static)]


def _route_rule(
    xp: Any, t: Any, out: Any, g: Any, winner: Any, *, size: Pair, **static: Any
) -> Any:
    return xp.max_pool2d_gather(t, winner, **static)


def _gather_rule(xp: Any, g: Any, out: Any, t: Any, winner: Any, **static: Any) -> Any:
    return xp.max_pool2d_route(g, winner, size=(t.shape[1], t.shape[2]), **static)


max_pool2d_winners.defvjp_variadic(_winners_rule)
max_pool2d_route.defvjp(_route_rule, zero)
max_pool2d_gather.defvjp(_gather_rule, zero)


# -- average pooling ---------------------------------------------------------------------------


def _window_weights(size: int, kernel: int, stride: int, border: Pair, count: bool) -> list[float]:
    """1 / how many values each window along one axis averages; borders count if *count*."""
    weights = []
    for k in range(window_count(size, kernel, stride, border)):
        start = k * stride - border[0]
        stop = start + kernel
        inside = stop - start if count else min(stop, size) - max(start, 0)
        weights.append(1.0 / inside)
    return weights


def _averaging(xp: Any, like: Any, size: Pair, kernel: Pair, stride: Pair, padding: Borders,
               count_include_pad: bool) -> Any:  # fmt: skip
    """The windows' weights as an array (H', W', 1)."""
    from array_api_compat import device

    rows, columns = (
        xp.asarray(
            _window_weights(size[a], kernel[a], stride[a], padding[a], count_include_pad),
            dtype=like.dtype, device=device(like),
        )
        for a in (0, 1)
    )  # fmt: skip
    return xp.multiply(xp.reshape(rows, (-1, 1, 1)), xp.reshape(columns, (1, -1, 1)))


@primitive
def avg_pool2d(
    xp: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Borders, count_include_pad: bool = True
) -> Any:
    """Mean of each window: (N, H, W, C) → (N, H', W', C); zeros of the border count or do not."""
    size, padded = _out_size(x, kernel, stride, padding), pad_image(xp, x, padding)
    total: Any = None
    for at in _places(kernel):
        window = window_slice(padded, at, size, stride, _ONE)
        total = window if total is None else xp.add(total, window)
    scale = _averaging(xp, x, (x.shape[1], x.shape[2]), kernel, stride, padding, count_include_pad)
    return xp.multiply(total, scale)


@primitive
def avg_pool2d_grad(
    xp: Any, g: Any, *, size: Pair, kernel: Pair, stride: Pair, padding: Borders,
    count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """Adjoint of avg_pool2d: g (N, H', W', C) → (N, H, W, C) with *size* = (H, W)."""
    scaled = xp.multiply(g, _averaging(xp, g, size, kernel, stride, padding, count_include_pad))
    padded = _padded_size(size, padding, kernel, (g.shape[1], g.shape[2]), stride)
    total: Any = None
    for at in _places(kernel):
        piece = _put_back(xp, scaled, at, padded, stride)
        total = piece if total is None else xp.add(total, piece)
    return _crop(total, size, padding)


avg_pool2d.defvjp(
    lambda xp, g, out, x, **static: xp.avg_pool2d_grad(g, size=(x.shape[1], x.shape[2]), **static),
    keeps=[],
)


def _avg_pool_grad_rule(xp: Any, t: Any, out: Any, g: Any, *, size: Pair, **static: Any) -> Any:
    return xp.avg_pool2d(t, **static)


avg_pool2d_grad.defvjp(_avg_pool_grad_rule)
