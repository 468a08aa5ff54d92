"""Products of matrices."""

from __future__ import annotations

from typing import Any

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


matmul.defvjp(_matmul_left, _matmul_right)


@primitive
def linear(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    """x @ weight + bias: x (..., in), weight (in, out), bias (out,) → (..., out)."""
    return xp.add(xp.matmul(x, weight), bias)


linear.defvjp(
    lambda xp, g, out, x, weight, bias: xp.matmul(g, xp.matrix_transpose(weight)),
    lambda xp, g, out, x, weight, bias: xp.matmul(xp.matrix_transpose(_rows(xp, x)), _rows(xp, g)),
    lambda xp, g, out, x, weight, bias: xp.sum(_rows(xp, g), axis=0),
)


def _rows(xp: Any, x: Any) -> Any:
    return x if x.ndim == 2 else xp.reshape(x, (-1, x.shape[-1]))
