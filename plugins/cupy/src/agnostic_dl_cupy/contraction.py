"""Matrix products and linear layers by cuBLAS."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl_cupy import reduction
from agnostic_dl_cupy.blas import Blas, Matrix, Product
from agnostic_dl_cupy.elementwise import add_bias
from agnostic_dl_cupy.runtime import Runtime, supported


def matmul(runtime: Runtime, blas: Blas, xp: Any, x: Any, y: Any) -> Any:
    """As the primitive, for x (..., M, K) with y (K, N) or y of x's batch, and for vectors.

    CuPy's products cannot be captured, of vectors either.
    """
    if not supported(runtime, x, y) or min(x.ndim, y.ndim) < 1:
        return NotImplemented
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        return NotImplemented
    if min(x.ndim, y.ndim) == 1:
        return _of_vectors(runtime, blas, x, y)
    if y.ndim == 2:
        return _by_rows(runtime, blas, x, y)
    if x.shape[:-2] != y.shape[:-2]:
        return NotImplemented
    x, y = runtime.contiguous(x), runtime.contiguous(y)
    (rows, inner), columns = x.shape[-2:], y.shape[-1]
    out = runtime.empty((*x.shape[:-1], columns), x.dtype)
    batch = math.prod(x.shape[:-2])
    blas.multiply(
        Product(rows, columns, inner, x.dtype.name, batch=batch),
        Matrix(runtime.pointer(x), inner, stride=rows * inner),
        Matrix(runtime.pointer(y), columns, stride=inner * columns),
        Matrix(runtime.pointer(out), columns, stride=rows * columns),
    )
    return out


def _of_vectors(runtime: Runtime, blas: Blas, x: Any, y: Any) -> Any:
    """One of them is a vector (K,), or both are."""
    if x.ndim == y.ndim:
        return reduction.dot(runtime, x, y)
    if y.ndim == 1:
        return _by_rows(runtime, blas, x, y.reshape(-1, 1)).reshape(x.shape[:-1])
    if y.ndim > 2:
        return NotImplemented
    return _by_rows(runtime, blas, x.reshape(1, -1), y).reshape(y.shape[1:])


def linear(runtime: Runtime, blas: Blas, xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    """As the primitive: x (..., in) @ weight (in, out) + bias (out,)."""
    fits = supported(runtime, x, weight, bias) and (x.ndim >= 2, weight.ndim) == (True, 2)
    if not fits or x.shape[-1] != weight.shape[0] or bias.shape != weight.shape[1:]:
        return NotImplemented
    out = _by_rows(runtime, blas, x, weight)
    add_bias(runtime, out, bias)
    return out


def _by_rows(runtime: Runtime, blas: Blas, x: Any, y: Any) -> Any:
    """x (..., K) @ y (K, N): the rows of all batches at once."""
    rows = x if x.ndim == 2 else runtime.contiguous(x).reshape(-1, x.shape[-1])
    out = runtime.empty((*x.shape[:-1], y.shape[1]), x.dtype)
    # Kept until the product is queued: the matrices may be copies.
    (left, kept_left), (right, kept_right) = _matrix(runtime, rows), _matrix(runtime, y)
    product = Product(rows.shape[0], y.shape[1], y.shape[0], x.dtype.name)
    blas.multiply(product, left, right, Matrix(runtime.pointer(out), y.shape[1]))
    del kept_left, kept_right
    return out


def _matrix(runtime: Runtime, array: Any) -> tuple[Matrix, Any]:
    """A 2-d array as cuBLAS can read it: rows, or the columns of a transposed view, else a copy."""
    step, (down, across) = array.dtype.itemsize, array.strides
    for transposed, (inner, outer, width) in enumerate(
        ((across, down, array.shape[1]), (down, across, array.shape[0]))
    ):
        if inner == step and outer >= width * step and outer % step == 0:
            return Matrix(runtime.pointer(array), outer // step, bool(transposed)), array
    array = runtime.contiguous(array)
    return Matrix(runtime.pointer(array), array.shape[1]), array
