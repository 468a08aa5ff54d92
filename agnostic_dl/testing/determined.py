"""What is determined of results that mathematics leaves partly open: phases, and an order.

For matrices whose eigenvalues, or singular values, are distinct.

Libraries agree on singular values, but not on the signs of singular vectors (LAPACK, cuSOLVER and
XLA each have their own), nor on the order of the eigenvalues of a matrix that is not symmetric.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def _svd(xp: Any, x: Any, out: Any) -> tuple[Any, ...]:
    u, s, vh = out
    u, vh = u[..., : s.shape[-1]], vh[..., : s.shape[-1], :]  # the rest is any basis
    return xp.abs(u), s, xp.abs(vh), xp.matmul(u * xp.astype(s, u.dtype)[..., None, :], vh)


def _qr(xp: Any, x: Any, out: Any) -> tuple[Any, ...]:
    q, r = out
    return xp.abs(q), xp.abs(r), xp.matmul(q, r)


def _eigh(xp: Any, x: Any, out: Any) -> tuple[Any, ...]:
    values, vectors = out
    adjoint = xp.conj(xp.matrix_transpose(vectors))
    scaled = vectors * xp.astype(values, vectors.dtype)[..., None, :]
    return values, xp.abs(vectors), xp.matmul(scaled, adjoint)


def _eigvals(xp: Any, x: Any, out: Any) -> tuple[Any, ...]:
    return (xp.take_along_axis(out, _order(xp, out), axis=-1),)


def _eig(xp: Any, x: Any, out: Any) -> tuple[Any, ...]:
    values, vectors = out
    order = _order(xp, values)
    places = xp.broadcast_to(order[..., None, :], vectors.shape)
    image = xp.matmul(xp.astype(x, vectors.dtype), vectors)
    return (
        xp.take_along_axis(values, order, axis=-1),
        xp.take_along_axis(xp.abs(vectors), places, axis=-1),
        image - vectors * values[..., None, :],  # nothing but rounding
    )


def _order(xp: Any, values: Any) -> Any:
    """Of complex numbers, ascending by real + π · imag, a key that tells conjugates apart."""
    return xp.argsort(xp.real(values) + math.pi * xp.imag(values), axis=-1)


_DETERMINED: dict[str, Callable[[Any, Any, Any], tuple[Any, ...]]] = {
    "linalg.svd": _svd, "linalg.qr": _qr, "linalg.eigh": _eigh, "linalg.eigvals": _eigvals,
    "linalg.eig": _eig,
}  # fmt: skip


def is_open(name: str) -> bool:
    """Whether two libraries may both be right about a primitive's result, and not agree."""
    return name in _DETERMINED


def determined(name: str, xp: Any, x: Any, out: Any) -> tuple[Any, ...]:
    """What every library must agree on of an open primitive's result *out* for the matrices *x*."""
    return _DETERMINED[name](xp, x, out)
