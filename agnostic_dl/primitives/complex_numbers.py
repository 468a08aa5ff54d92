"""Size, sign and parts of complex numbers, whose rules are not those of real ones.

A rule's g is ∂L/∂out; of a complex z = a + ib it is ∂L/∂a - i ∂L/∂b.
"""

from __future__ import annotations

from typing import Any

from agnostic_dl.primitives.definition import primitive
from agnostic_dl.primitives.dtypes import isdtype


def is_complex(xp: Any, x: Any) -> bool:
    """Whether x holds complex numbers."""
    return isdtype(xp, x.dtype, "complex floating")


def conjugated(xp: Any, x: Any) -> Any:
    """The complex conjugate, free for real numbers."""
    return xp.conj(x) if is_complex(xp, x) else x


@primitive
def abs(xp: Any, x: Any) -> Any:
    """Absolute value; its derivative at 0 is taken as 0."""
    return xp.abs(x)


abs.defvjp(lambda xp, g, out, x: xp.multiply(g, conjugated(xp, xp.sign(x))))


@primitive
def sign(xp: Any, x: Any) -> Any:
    """-1, 0 or 1: the sign of x; of a complex number x / |x|."""
    return xp.sign(x)


def _sign_rule(xp: Any, g: Any, out: Any, x: Any) -> Any:
    if not is_complex(xp, x):
        return xp.zeros_like(g)
    size = xp.abs(x)
    still = xp.equal(size, 0)
    along = xp.multiply(xp.conj(out), xp.real(xp.multiply(g, out)))
    turned = xp.divide(xp.subtract(g, along), xp.where(still, xp.ones_like(size), size))
    return xp.where(still, xp.zeros_like(turned), turned)


sign.defvjp(_sign_rule)


@primitive
def real(xp: Any, x: Any) -> Any:
    """The real part."""
    return xp.real(x)


real.defvjp(lambda xp, g, out, x: g)


@primitive
def imag(xp: Any, x: Any) -> Any:
    """The imaginary part."""
    return xp.imag(x)


imag.defvjp(lambda xp, g, out, x: xp.multiply(xp.astype(g, dtype=x.dtype), -1j))


@primitive
def conj(xp: Any, x: Any) -> Any:
    """The complex conjugate; of a real number itself."""
    return xp.conj(x)


conj.defvjp(lambda xp, g, out, x: conjugated(xp, g))
