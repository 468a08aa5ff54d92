"""Eigenvalues and singular values.

The rules hold where eigenvalues (singular values) differ; of vectors, whose sign or phase is
arbitrary, only what does not depend on that choice has a meaningful gradient.
"""

from __future__ import annotations

from typing import Any

from agnostic_dl.errors import GradientError
from agnostic_dl.primitives.complex_numbers import is_complex
from agnostic_dl.primitives.definition import primitive
from agnostic_dl.primitives.linear_algebra import adjoint, conj, hermitian, identity, product


def _off_diagonal(xp: Any, numerator: Any, gaps: Any) -> Any:
    """numerator / gaps, and 0 on the diagonal and where two values are equal."""
    equal = xp.equal(gaps, 0)
    quotient = xp.divide(numerator, xp.where(equal, xp.ones_like(gaps), gaps))
    return xp.where(equal, xp.zeros_like(quotient), quotient)


def _gaps(xp: Any, values: Any) -> Any:
    """values[j] - values[i] at (i, j)."""
    return xp.subtract(xp.expand_dims(values, axis=-2), xp.expand_dims(values, axis=-1))


def _diagonal(xp: Any, values: Any, like: Any) -> Any:
    """Matrices with the values on the diagonal, of the dtype of *like*."""
    values = values if values.dtype == like.dtype else xp.astype(values, dtype=like.dtype)
    unit = identity(xp, like, values.shape[-1])
    return xp.multiply(xp.expand_dims(values, axis=-1), unit)


# -- symmetric and Hermitian matrices ------------------------------------------------------------


@primitive(name="linalg.eigh")
def eigh(xp: Any, x: Any) -> Any:
    """Eigenvalues, ascending, and orthonormal eigenvectors of symmetric (Hermitian) matrices."""
    return xp.linalg.eigh(x)


@hermitian
def _eigh_rule(xp: Any, g: tuple[Any, ...], out: tuple[Any, ...], x: Any) -> Any:
    (g_values, g_vectors), (values, v) = g, out
    inner = None if g_values is None else _diagonal(xp, g_values, v)
    if g_vectors is not None:
        turn = _off_diagonal(xp, xp.matmul(adjoint(xp, v), g_vectors), _gaps(xp, values))
        inner = turn if inner is None else xp.add(inner, turn)
    full = product(xp, v, inner, adjoint(xp, v))
    return xp.multiply(xp.add(full, adjoint(xp, full)), 0.5)


eigh.defvjp(_eigh_rule)


@primitive(name="linalg.eigvalsh")
def eigvalsh(xp: Any, x: Any) -> Any:
    """Eigenvalues of symmetric (Hermitian) matrices, ascending."""
    return xp.linalg.eigvalsh(x)


eigvalsh.defvjp_composed(lambda xp, x: xp.linalg.eigh(x)[0])


# -- general square matrices -----------------------------------------------------------------------


@primitive(name="linalg.eig")
def eig(xp: Any, x: Any) -> Any:
    """Eigenvalues and eigenvectors of length 1 of square matrices, complex."""
    return xp.linalg.eig(x)


@hermitian
def _eig_rule(xp: Any, g: tuple[Any, ...], out: tuple[Any, ...], x: Any) -> Any:
    (g_values, g_vectors), (values, v) = g, out
    v_h = adjoint(xp, v)
    inner = None if g_values is None else _diagonal(xp, g_values, v)
    if g_vectors is not None:
        pulled = xp.matmul(v_h, g_vectors)
        # The vectors have length 1: what would stretch them is taken out.
        stretch = xp.real(xp.sum(xp.multiply(conj(xp, v), g_vectors), axis=-2, keepdims=True))
        pulled = xp.subtract(pulled, xp.multiply(xp.matmul(v_h, v), stretch))
        turn = _off_diagonal(xp, pulled, conj(xp, _gaps(xp, values)))
        inner = turn if inner is None else xp.add(inner, turn)
    return xp.linalg.solve(v_h, xp.matmul(inner, v_h))


eig.defvjp(_eig_rule)


@primitive(name="linalg.eigvals")
def eigvals(xp: Any, x: Any) -> Any:
    """Eigenvalues of square matrices, complex."""
    return xp.linalg.eigvals(x)


eigvals.defvjp_composed(lambda xp, x: xp.linalg.eig(x)[0])


# -- singular values -------------------------------------------------------------------------------


@primitive(name="linalg.svd")
def svd(xp: Any, x: Any, *, full_matrices: bool = True) -> Any:
    """x = U diag(s) Vᴴ: left vectors, singular values descending, right vectors."""
    return xp.linalg.svd(x, full_matrices=full_matrices)


@hermitian
def _svd_rule(
    xp: Any, g: tuple[Any, ...], out: tuple[Any, ...], x: Any, full_matrices: bool
) -> Any:
    (g_u, g_s, g_vh), (u, s, vh) = g, out
    rows, columns = x.shape[-2:]
    if full_matrices and rows != columns:
        if g_u is not None or g_vh is not None:
            raise GradientError(
                "linalg.svd with full_matrices=True has no derivative in the vectors of a matrix "
                "that is not square (those added are arbitrary): use full_matrices=False"
            )
        u = xp.getitem(u, key=(..., slice(0, s.shape[-1])))
        vh = xp.getitem(vh, key=(..., slice(0, s.shape[-1]), slice(None)))
    inner = _diagonal(xp, xp.zeros_like(s) if g_s is None else g_s, u)
    across, down = xp.expand_dims(s, axis=-2), xp.expand_dims(s, axis=-1)
    gaps = _gaps(xp, xp.square(s))
    left = right = None
    if g_u is not None:
        pulled = xp.matmul(adjoint(xp, u), g_u)
        skew = xp.subtract(pulled, adjoint(xp, pulled))
        inner = xp.add(inner, xp.multiply(_off_diagonal(xp, skew, gaps), across))
        if is_complex(xp, u):  # the phases
            unit = identity(xp, s, s.shape[-1])
            inner = xp.add(inner, xp.multiply(xp.multiply(skew, 0.5), xp.divide(unit, across)))
        if rows > columns:
            left = xp.divide(xp.subtract(g_u, xp.matmul(u, pulled)), across)
    if g_vh is not None:
        pulled = xp.matmul(vh, adjoint(xp, g_vh))
        skew = xp.subtract(pulled, adjoint(xp, pulled))
        inner = xp.add(inner, xp.multiply(down, _off_diagonal(xp, skew, gaps)))
        if rows < columns:
            right = xp.divide(xp.subtract(g_vh, xp.matmul(adjoint(xp, pulled), vh)), down)
    out_left = xp.matmul(u, inner) if left is None else xp.add(xp.matmul(u, inner), left)
    grad = xp.matmul(out_left, vh)
    return grad if right is None else xp.add(grad, xp.matmul(u, right))


svd.defvjp(_svd_rule)


@primitive(name="linalg.svdvals")
def svdvals(xp: Any, x: Any) -> Any:
    """Singular values, descending."""
    return xp.linalg.svdvals(x)


svdvals.defvjp_composed(lambda xp, x: xp.linalg.svd(x, full_matrices=False)[1])
