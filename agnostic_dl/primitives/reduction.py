"""Reductions: sums, means, extremes and their positions."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.definition import primitive


def normal_axes(axis: int | tuple[int, ...] | None, ndim: int) -> tuple[int, ...]:
    """*axis* as a sorted tuple of axes from 0 on; None means all."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else axis
    return tuple(sorted(a % ndim for a in axes))


def _spread(xp: Any, g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Give *g*, a reduction's output, the reduced axes back, stretched to the shape of *x*."""
    if not keepdims:
        for a in normal_axes(axis, x.ndim):
            g = xp.expand_dims(g, axis=a)
    return xp.broadcast_to(g, x.shape)


def _count(x: Any, axis: Any) -> int:
    return math.prod(x.shape[a] for a in normal_axes(axis, x.ndim))


@primitive
def sum(xp: Any, x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """Sum over the axes."""
    return xp.sum(x, axis=axis, dtype=dtype, keepdims=keepdims)


sum.defvjp(lambda xp, g, out, x, axis, dtype, keepdims: _spread(xp, g, x, axis, keepdims), keeps=[])


@primitive
def mean(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Mean over the axes."""
    return xp.mean(x, axis=axis, keepdims=keepdims)


mean.defvjp(
    lambda xp, g, out, x, axis, keepdims: _spread(
        xp, xp.divide(g, float(_count(x, axis))), x, axis, keepdims
    ),
    keeps=[],
)


@primitive
def var(
    xp: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Any:
    """Variance over the axes: squared deviations, divided by the count less *correction*."""
    return xp.var(x, axis=axis, correction=correction, keepdims=keepdims)


def _var_rule(
    xp: Any, g: Any, out: Any, x: Any, axis: Any, correction: float, keepdims: bool
) -> Any:
    deviation = xp.subtract(x, xp.mean(x, axis=axis, keepdims=True))
    scale = xp.multiply(g, 2.0 / (_count(x, axis) - correction))
    return xp.multiply(deviation, _spread(xp, scale, x, axis, keepdims))


var.defvjp(_var_rule, keeps=["x"])


@primitive
def std(
    xp: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Any:
    """Standard deviation over the axes: the root of the variance."""
    return xp.std(x, axis=axis, correction=correction, keepdims=keepdims)


std.defvjp(
    lambda xp, g, out, x, axis, correction, keepdims: _var_rule(
        xp, xp.divide(xp.multiply(g, 0.5), out), None, x, axis, correction, keepdims
    )
)


@primitive
def max(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Largest value over the axes; of equal ones the gradient goes to the first."""
    return xp.max(x, axis=axis, keepdims=keepdims)


@primitive
def min(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Smallest value over the axes; of equal ones the gradient goes to the first."""
    return xp.min(x, axis=axis, keepdims=keepdims)


def _extreme_rule(xp: Any, g: Any, out: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    winners = xp.first_true(
        xp.equal(x, _spread(xp, out, x, axis, keepdims)), axis=normal_axes(axis, x.ndim)
    )
    spread = _spread(xp, g, x, axis, keepdims)
    return xp.where(winners, spread, xp.zeros_like(spread))


max.defvjp(_extreme_rule)
min.defvjp(_extreme_rule)


@primitive(differentiable=False)
def first_true(xp: Any, mask: Any, *, axis: tuple[int, ...]) -> Any:
    """Keep the first True along the axes (in C order over them) and clear the others."""
    kept = [a for a in range(mask.ndim) if a not in axis]
    order = (*kept, *axis)
    rest = math.prod(mask.shape[a] for a in axis)
    flat = xp.reshape(xp.permute_dims(mask, order), (*(mask.shape[a] for a in kept), rest))
    counts = xp.cumulative_sum(xp.astype(flat, xp.int32), axis=-1)
    first = xp.logical_and(flat, xp.equal(counts, xp.ones_like(counts)))
    first = xp.reshape(first, tuple(mask.shape[a] for a in order))
    return xp.permute_dims(first, tuple(order.index(a) for a in range(mask.ndim)))


@primitive(differentiable=False)
def argmax(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Position of the largest value."""
    return xp.argmax(x, axis=axis, keepdims=keepdims)


@primitive(differentiable=False)
def argmin(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Position of the smallest value."""
    return xp.argmin(x, axis=axis, keepdims=keepdims)


@primitive(differentiable=False)
def all(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether all are true."""
    return xp.all(x, axis=axis, keepdims=keepdims)


@primitive(differentiable=False)
def any(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether any is true."""
    return xp.any(x, axis=axis, keepdims=keepdims)


@primitive
def logsumexp(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """log Σ exp(x) over the axes, without overflow."""
    top = xp.max(x, axis=axis, keepdims=True)
    total = xp.log(xp.sum(xp.exp(xp.subtract(x, top)), axis=axis, keepdims=True))
    out = xp.add(total, top)
    return out if keepdims else xp.squeeze(out, axis=normal_axes(axis, x.ndim))


logsumexp.defvjp(
    lambda xp, g, out, x, axis, keepdims: xp.multiply(
        _spread(xp, g, x, axis, keepdims),
        xp.exp(xp.subtract(x, _spread(xp, out, x, axis, keepdims))),
    )
)
