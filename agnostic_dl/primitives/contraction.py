"""Products of vectors, matrices and tensors."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.complex_numbers import is_complex
from agnostic_dl.primitives.definition import primitive


@primitive
def matmul(xp: Any, x: Any, y: Any) -> Any:
    """Matrix product of the last two axes; the others broadcast; one-dimensional as in NumPy."""
    return xp.matmul(x, y)


def _outer(xp: Any, x: Any, y: Any) -> Any:
    return xp.multiply(xp.expand_dims(x, axis=-1), xp.expand_dims(y, axis=-2))


def _matmul_left(xp: Any, g: Any, out: Any, x: Any, y: Any) -> Any:
    if y.ndim == 1:
        return xp.multiply(g, y) if x.ndim == 1 else _outer(xp, g, y)
    if x.ndim == 1:
        return xp.getitem(xp.matmul(y, xp.expand_dims(g, axis=-1)), key=(..., 0))
    return xp.matmul(g, xp.matrix_transpose(y))


def _matmul_right(xp: Any, g: Any, out: Any, x: Any, y: Any) -> Any:
    if x.ndim == 1:
        return xp.multiply(g, x) if y.ndim == 1 else _outer(xp, x, g)
    if y.ndim == 1:
        column = xp.expand_dims(g, axis=-1)
        return xp.getitem(xp.matmul(xp.matrix_transpose(x), column), key=(..., 0))
    return xp.matmul(xp.matrix_transpose(x), g)


matmul.defvjp(_matmul_left, _matmul_right, keeps=["x", "y"])


@primitive
def vecdot(xp: Any, x: Any, y: Any, *, axis: int = -1) -> Any:
    """Σ conj(x) · y along the axis."""
    return xp.vecdot(x, y, axis=axis)


vecdot.defvjp_composed(
    lambda xp, x, y, *, axis: xp.sum(
        xp.multiply(xp.conj(x) if is_complex(xp, x) else x, y), axis=axis
    )
)


@primitive
def tensordot(xp: Any, x: Any, y: Any, *, axes: Any = 2) -> Any:
    """Sum of products over pairs of axes."""
    return xp.tensordot(x, y, axes=axes)


def _tensordot_formula(xp: Any, x: Any, y: Any, *, axes: Any) -> Any:
    """As one matrix product: the summed axes last in x, first in y."""
    if isinstance(axes, int):
        axes = (range(x.ndim - axes, x.ndim), range(axes))
    summed_x, summed_y = [a % x.ndim for a in axes[0]], [a % y.ndim for a in axes[1]]
    kept_x = [a for a in range(x.ndim) if a not in summed_x]
    kept_y = [a for a in range(y.ndim) if a not in summed_y]
    shape_x, shape_y = [x.shape[a] for a in kept_x], [y.shape[a] for a in kept_y]
    count = math.prod(x.shape[a] for a in summed_x)
    rows = xp.reshape(xp.permute_dims(x, (*kept_x, *summed_x)), (math.prod(shape_x), count))
    columns = xp.reshape(xp.permute_dims(y, (*summed_y, *kept_y)), (count, math.prod(shape_y)))
    return xp.reshape(xp.matmul(rows, columns), (*shape_x, *shape_y))


tensordot.defvjp_composed(_tensordot_formula)


@primitive(name="linalg.outer")
def outer(xp: Any, x: Any, y: Any) -> Any:
    """All products of an element of x and one of y."""
    return xp.linalg.outer(x, y)


outer.defvjp_composed(lambda xp, x, y: _outer(xp, x, y))


@primitive(name="linalg.cross")
def cross(xp: Any, x: Any, y: Any, *, axis: int = -1) -> Any:
    """Vector product along an axis of length 3."""
    return xp.linalg.cross(x, y, axis=axis)


def _cross_formula(xp: Any, x: Any, y: Any, *, axis: int) -> Any:
    x, y = xp.broadcast_arrays(x, y)
    (a, b, c), (d, e, f) = xp.unstack(x, axis=axis), xp.unstack(y, axis=axis)
    pairs = ((b, f, c, e), (c, d, a, f), (a, e, b, d))
    return xp.stack(
        *(xp.subtract(xp.multiply(p, q), xp.multiply(r, s)) for p, q, r, s in pairs), axis=axis
    )


cross.defvjp_composed(_cross_formula)


@primitive(name="linalg.diagonal")
def diagonal(xp: Any, x: Any, *, offset: int = 0) -> Any:
    """The diagonal of each matrix, or one beside it."""
    return xp.linalg.diagonal(x, offset=offset)


def _diagonal_rule(xp: Any, g: Any, out: Any, x: Any, offset: int) -> Any:
    from array_api_compat import device

    *batch, rows, columns = x.shape
    start = offset if offset >= 0 else -offset * columns
    places = xp.arange(g.shape[-1], device=device(x)) * (columns + 1) + start
    flat = xp.take_grad(g, places, axis=-1, length=rows * columns)
    return xp.reshape(flat, (*batch, rows, columns))


diagonal.defvjp(_diagonal_rule)


@primitive(name="linalg.trace")
def trace(xp: Any, x: Any, *, offset: int = 0, dtype: Any = None) -> Any:
    """Sum of the diagonal of each matrix."""
    return xp.linalg.trace(x, offset=offset, dtype=dtype)


trace.defvjp_composed(
    lambda xp, x, *, offset, dtype: xp.sum(
        xp.linalg.diagonal(x, offset=offset), axis=-1, dtype=dtype
    )
)


@primitive
def linear(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    """x @ weight + bias: x (..., in), weight (in, out), bias (out,) → (..., out)."""
    return xp.add(xp.matmul(x, weight), bias)


linear.defvjp(
    lambda xp, g, out, x, weight, bias: xp.matmul(g, xp.matrix_transpose(weight)),
    lambda xp, g, out, x, weight, bias: xp.matmul(xp.matrix_transpose(_rows(xp, x)), _rows(xp, g)),
    lambda xp, g, out, x, weight, bias: xp.sum(_rows(xp, g), axis=0),
    keeps=["x", "weight"],
)


def _rows(xp: Any, x: Any) -> Any:
    return x if x.ndim == 2 else xp.reshape(x, (-1, x.shape[-1]))
