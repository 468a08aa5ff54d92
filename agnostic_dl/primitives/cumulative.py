"""Products over axes, running sums and products, differences."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.definition import primitive
from agnostic_dl.primitives.reduction import normal_axes


def along(xp: Any, x: Any, axis: int, start: int | None, stop: int | None) -> Any:
    """x[start:stop] along one axis."""
    return xp.getitem(x, key=(slice(None),) * (axis % x.ndim) + (slice(start, stop), ...))


@primitive
def prod(xp: Any, x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """Product over the axes."""
    return xp.prod(x, axis=axis, dtype=dtype, keepdims=keepdims)


def _prod_by_halves(xp: Any, x: Any, *, axis: Any, dtype: Any, keepdims: bool) -> Any:
    """The product as a tree of multiplications: its derivative is right where factors are 0."""
    axes = normal_axes(axis, x.ndim)
    kept = [a for a in range(x.ndim) if a not in axes]
    count, shape = math.prod(x.shape[a] for a in axes), tuple(x.shape[a] for a in kept)
    rows = xp.reshape(xp.permute_dims(x, (*kept, *axes)), (*shape, count))
    rows = rows if dtype is None else xp.astype(rows, dtype=dtype)
    while count > 1:
        if count % 2:
            rows = xp.concat(rows, xp.ones_like(along(xp, rows, -1, 0, 1)), axis=-1)
        count = (count + 1) // 2
        rows = xp.multiply(along(xp, rows, -1, 0, count), along(xp, rows, -1, count, None))
    if count == 0:
        rows = xp.ones(shape, dtype=x.dtype)
    if keepdims:
        shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    return xp.reshape(rows, shape)


prod.defvjp_composed(_prod_by_halves)


@primitive
def cumulative_sum(
    xp: Any, x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """Running sums along the axis, with *include_initial* a 0 before them."""
    return xp.cumulative_sum(x, axis=axis, dtype=dtype, include_initial=include_initial)


def _cumulative_sum_rule(
    xp: Any, g: Any, out: Any, x: Any, axis: int | None, dtype: Any, include_initial: bool
) -> Any:
    axis = -1 if axis is None else axis
    g = along(xp, g, axis, 1, None) if include_initial else g
    return xp.flip(xp.cumulative_sum(xp.flip(g, axis=axis), axis=axis), axis=axis)


cumulative_sum.defvjp(_cumulative_sum_rule)


@primitive
def cumulative_prod(
    xp: Any, x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """Running products along the axis, with *include_initial* a 1 before them."""
    return xp.cumulative_prod(x, axis=axis, dtype=dtype, include_initial=include_initial)


def _cumulative_prod_by_doubling(
    xp: Any, x: Any, *, axis: int | None, dtype: Any, include_initial: bool
) -> Any:
    """Running products of 2, 4, 8, … factors: the derivative is right where factors are 0."""
    axis, reach = -1 if axis is None else axis, 1
    x = x if dtype is None else xp.astype(x, dtype=dtype)
    ones = xp.ones_like(x)
    while reach < x.shape[axis]:
        head, tail = along(xp, ones, axis, 0, reach), along(xp, x, axis, 0, -reach)
        before = xp.concat(head, tail, axis=axis)
        x, reach = xp.multiply(x, before), 2 * reach
    if not include_initial:
        return x
    shape = tuple(1 if a == axis % x.ndim else n for a, n in enumerate(x.shape))
    return xp.concat(xp.ones(shape, dtype=x.dtype), x, axis=axis)


cumulative_prod.defvjp_composed(_cumulative_prod_by_doubling)


@primitive
def diff(
    xp: Any, x: Any, prepend: Any = None, append: Any = None, *, axis: int = -1, n: int = 1
) -> Any:
    """The n-th differences of neighbours along the axis."""
    ends = {"prepend": prepend, "append": append}
    return xp.diff(x, axis=axis, n=n, **{k: v for k, v in ends.items() if v is not None})


def _diff_formula(xp: Any, x: Any, prepend: Any, append: Any, *, axis: int, n: int) -> Any:
    if n == 0:
        return x
    pieces = [piece for piece in (prepend, x, append) if piece is not None]
    x = xp.concat(*pieces, axis=axis) if len(pieces) > 1 else x
    for _ in range(n):
        length = x.shape[axis]
        after, before = (min(1, length), None), (0, max(length - 1, 0))
        x = xp.subtract(along(xp, x, axis, *after), along(xp, x, axis, *before))
    return x


diff.defvjp_composed(_diff_formula)
