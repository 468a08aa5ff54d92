"""Linear algebra: inverses, determinants, factorisations, powers.

Rules marked with :func:`hermitian` are written for gradients as PyTorch defines them, so that they
read as in Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation", 2008, with conjugate transposes in the place of transposes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from agnostic_dl.errors import GradientError
from agnostic_dl.primitives.complex_numbers import conjugated, is_complex
from agnostic_dl.primitives.definition import primitive, zero


def conj(xp: Any, x: Any) -> Any:
    """Complex conjugate, free for real numbers."""
    return x if x is None else conjugated(xp, x)


def adjoint(xp: Any, x: Any) -> Any:
    """Conjugate transpose of each matrix."""
    return xp.matrix_transpose(conj(xp, x))


def hermitian(rule: Callable[..., Any]) -> Callable[..., Any]:
    """Let *rule* work on conjugated gradients, as formulas with conjugate transposes expect."""

    @wraps(rule)
    def wrapped(xp: Any, g: Any, out: Any, *arrays: Any, **static: Any) -> Any:
        g = tuple(conj(xp, piece) for piece in g) if isinstance(g, tuple) else conj(xp, g)
        return conj(xp, rule(xp, g, out, *arrays, **static))

    return wrapped


def product(xp: Any, *matrices: Any) -> Any:
    """Matrix product of several, from the left."""
    out = matrices[0]
    for matrix in matrices[1:]:
        out = xp.matmul(out, matrix)
    return out


def identity(xp: Any, like: Any, size: int, dtype: Any = None) -> Any:
    """The unit matrix, of the dtype and on the device of *like*."""
    from array_api_compat import device

    return xp.eye(size, dtype=dtype or like.dtype, device=device(like))


@primitive(name="linalg.inv")
def inv(xp: Any, x: Any) -> Any:
    """Inverse of each matrix."""
    return xp.linalg.inv(x)


def _inv_rule(xp: Any, g: Any, out: Any, x: Any) -> Any:
    turned = xp.matrix_transpose(out)
    return xp.negative(product(xp, turned, g, turned))


inv.defvjp(_inv_rule)


@primitive(name="linalg.solve")
def solve(xp: Any, a: Any, b: Any) -> Any:
    """The x of a @ x = b; b is a vector only if it has one axis."""
    return xp.linalg.solve(a, b)


def _solve_right(xp: Any, g: Any, out: Any, a: Any, b: Any) -> Any:
    return xp.linalg.solve(xp.matrix_transpose(a), _as_matrix(xp, g, b))


def _as_matrix(xp: Any, x: Any, b: Any) -> Any:
    return xp.expand_dims(x, axis=-1) if b.ndim == 1 else x


def _solve_left(xp: Any, g: Any, out: Any, a: Any, b: Any) -> Any:
    pulled = _solve_right(xp, g, out, a, b)
    return xp.negative(xp.matmul(pulled, xp.matrix_transpose(_as_matrix(xp, out, b))))


def _solve_right_shaped(xp: Any, g: Any, out: Any, a: Any, b: Any) -> Any:
    pulled = _solve_right(xp, g, out, a, b)
    return xp.squeeze(pulled, axis=-1) if b.ndim == 1 else pulled


solve.defvjp(_solve_left, _solve_right_shaped)


@primitive(name="linalg.det")
def det(xp: Any, x: Any) -> Any:
    """Determinant of each matrix; its rule needs the matrix to be invertible."""
    return xp.linalg.det(x)


det.defvjp(
    lambda xp, g, out, x: xp.multiply(
        xp.expand_dims(xp.multiply(g, out), axis=(-2, -1)),
        xp.matrix_transpose(xp.linalg.inv(x)),
    )
)


@primitive(name="linalg.slogdet")
def slogdet(xp: Any, x: Any) -> Any:
    """Sign of the determinant and the logarithm of its absolute value."""
    return xp.linalg.slogdet(x)


@hermitian
def _slogdet_rule(xp: Any, g: tuple[Any, ...], out: tuple[Any, ...], x: Any) -> Any:
    g_sign, g_log = g
    weight = xp.zeros_like(out[1]) if g_log is None else g_log
    if is_complex(xp, x):
        weight = xp.astype(weight, dtype=x.dtype)
        if g_sign is not None:
            turn = xp.imag(xp.multiply(xp.conj(g_sign), out[0]))
            weight = xp.subtract(weight, xp.multiply(xp.astype(turn, dtype=x.dtype), 1j))
    return xp.multiply(xp.expand_dims(weight, axis=(-2, -1)), adjoint(xp, xp.linalg.inv(x)))


slogdet.defvjp(_slogdet_rule)


@primitive(name="linalg.cholesky")
def cholesky(xp: Any, x: Any, *, upper: bool = False) -> Any:
    """The lower triangular L of x = L Lᴴ, or with *upper* the U of x = Uᴴ U."""
    return xp.linalg.cholesky(x, upper=upper)


@hermitian
def _cholesky_rule(xp: Any, g: Any, out: Any, x: Any, upper: bool) -> Any:
    if upper:
        g, out = adjoint(xp, g), adjoint(xp, out)
    inner = xp.tril(xp.matmul(adjoint(xp, out), g))
    inner = xp.subtract(inner, xp.multiply(xp.triu(inner), 0.5))  # the diagonal counts half
    inverse = xp.linalg.inv(out)
    full = product(xp, adjoint(xp, inverse), inner, inverse)
    return xp.multiply(xp.add(full, adjoint(xp, full)), 0.5)


cholesky.defvjp(_cholesky_rule)


@primitive(name="linalg.qr")
def qr(xp: Any, x: Any, *, mode: str = "reduced") -> Any:
    """Q with orthonormal columns and R upper triangular, x = Q R."""
    return xp.linalg.qr(x, mode=mode)


@hermitian
def _qr_rule(xp: Any, g: tuple[Any, ...], out: tuple[Any, ...], x: Any, mode: str) -> Any:
    rows, columns = x.shape[-2:]
    if mode == "complete" and rows > columns:
        raise GradientError(
            "linalg.qr with mode='complete' has no derivative where the matrix is tall (the added "
            "columns of Q are arbitrary): use mode='reduced'"
        )
    q, r = out
    g_q = xp.zeros_like(q) if g[0] is None else g[0]
    g_r = xp.zeros_like(r) if g[1] is None else g[1]
    if rows >= columns:
        return _qr_square(xp, g_q, g_r, q, r)
    # x = [left | right]: R's right part is Qᴴ right.
    right, g_right = (
        xp.getitem(x, key=(..., slice(rows, None))),
        xp.getitem(g_r, key=(..., slice(rows, None))),
    )
    g_q = xp.add(g_q, xp.matmul(right, adjoint(xp, g_right)))
    head = (..., slice(0, rows))
    left = _qr_square(xp, g_q, xp.getitem(g_r, key=head), q, xp.getitem(r, key=head))
    return xp.concat(left, xp.matmul(q, g_right), axis=-1)


def _qr_square(xp: Any, g_q: Any, g_r: Any, q: Any, r: Any) -> Any:
    m = xp.subtract(xp.matmul(r, adjoint(xp, g_r)), xp.matmul(adjoint(xp, g_q), q))
    below = xp.tril(m, k=-1)
    middle = xp.multiply(m, identity(xp, m, m.shape[-1]))
    middle = xp.astype(xp.real(middle), dtype=m.dtype) if is_complex(xp, m) else middle
    symmetric = xp.add(xp.add(below, adjoint(xp, below)), middle)
    inner = xp.add(g_q, xp.matmul(q, symmetric))
    return adjoint(xp, xp.linalg.solve(r, adjoint(xp, inner)))


qr.defvjp(_qr_rule)


@primitive(name="linalg.pinv")
def pinv(xp: Any, x: Any, rtol: Any = None) -> Any:
    """Pseudo-inverse of each matrix; differentiable where the rank does not change."""
    return xp.linalg.pinv(x, rtol=rtol)


@hermitian
def _pinv_rule(xp: Any, g: Any, out: Any, x: Any, rtol: Any) -> Any:
    """Golub and Pereyra, 1973."""
    p_h, g_h = adjoint(xp, out), adjoint(xp, g)
    first = xp.negative(product(xp, p_h, g, p_h))
    rows = product(xp, g_h, out, p_h)
    columns = product(xp, p_h, out, g_h)
    second = xp.subtract(rows, product(xp, x, out, rows))
    third = xp.subtract(columns, product(xp, columns, out, x))
    return xp.add(first, xp.add(second, third))


pinv.defvjp(_pinv_rule, zero)


@primitive(name="linalg.matrix_power")
def matrix_power(xp: Any, x: Any, *, n: int) -> Any:
    """Each square matrix to the power n."""
    return xp.linalg.matrix_power(x, n)


def _matrix_power_formula(xp: Any, x: Any, *, n: int) -> Any:
    if n == 0:
        return xp.broadcast_to(identity(xp, x, x.shape[-1]), x.shape)
    x, n = (xp.linalg.inv(x), -n) if n < 0 else (x, n)
    out = None
    while n:
        if n % 2:
            out = x if out is None else xp.matmul(out, x)
        n //= 2
        x = xp.matmul(x, x) if n else x
    return out


matrix_power.defvjp_composed(_matrix_power_formula)


@primitive(differentiable=False, name="linalg.matrix_rank")
def matrix_rank(xp: Any, x: Any, rtol: Any = None) -> Any:
    """Number of singular values that are not negligible."""
    return xp.linalg.matrix_rank(x, rtol=rtol)
