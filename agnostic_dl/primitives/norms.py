"""Norms of vectors and matrices."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.definition import primitive
from agnostic_dl.primitives.reduction import normal_axes


@primitive(name="linalg.vector_norm")
def vector_norm(
    xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False, ord: float = 2
) -> Any:
    """(Σ |x|ᵖ)^(1/p) over the axes; the derivative of the Euclidean norm at 0 is taken as 0."""
    return xp.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)


def _vector_norm_formula(xp: Any, x: Any, *, axis: Any, keepdims: bool, ord: float) -> Any:
    axis, size = normal_axes(axis, x.ndim), xp.abs(x)
    if ord == math.inf:
        return xp.max(size, axis=axis, keepdims=keepdims)
    if ord == -math.inf:
        return xp.min(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return xp.sum(xp.astype(xp.not_equal(x, 0), dtype=size.dtype), axis=axis, keepdims=keepdims)
    if ord == 1:
        return xp.sum(size, axis=axis, keepdims=keepdims)
    powers = xp.square(size) if ord == 2 else xp.pow(size, float(ord))
    total = xp.sum(powers, axis=axis, keepdims=keepdims)
    still = xp.equal(total, 0)
    safe = xp.where(still, xp.ones_like(total), total)
    root = xp.sqrt(safe) if ord == 2 else xp.pow(safe, 1.0 / ord)
    return xp.where(still, total, root)


vector_norm.defvjp_composed(_vector_norm_formula)


@primitive(name="linalg.matrix_norm")
def matrix_norm(xp: Any, x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """Norm of each matrix: Frobenius, nuclear, spectral (2), largest column (1) or row sum (∞)."""
    return xp.linalg.matrix_norm(x, keepdims=keepdims, ord=ord)


def _matrix_norm_formula(xp: Any, x: Any, *, keepdims: bool, ord: Any) -> Any:
    if ord == "fro":
        return _vector_norm_formula(xp, x, axis=(-2, -1), keepdims=keepdims, ord=2)
    pick = xp.min if ord != "nuc" and ord < 0 else xp.max
    if ord in ("nuc", 2, -2):
        values = xp.linalg.svdvals(x)
        out = xp.sum(values, axis=-1) if ord == "nuc" else pick(values, axis=-1)
    else:
        sums = xp.sum(xp.abs(x), axis=-2 if ord in (1, -1) else -1)
        out = pick(sums, axis=-1)
    return xp.expand_dims(out, axis=(-2, -1)) if keepdims else out


matrix_norm.defvjp_composed(_matrix_norm_formula)
