"""Exponentials, logarithms, circular and hyperbolic functions, each with its rule beneath it."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.definition import primitive

# -- exponentials and logarithms ---------------------------------------------------------------


@primitive
def exp(xp: Any, x: Any) -> Any:
    """e to the power x."""
    return xp.exp(x)


exp.defvjp(lambda xp, g, out, x: xp.multiply(g, out), keeps=["out"])


@primitive
def expm1(xp: Any, x: Any) -> Any:
    """exp(x) - 1, accurate near 0."""
    return xp.expm1(x)


expm1.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.add(out, 1.0)), keeps=["out"])


@primitive
def log(xp: Any, x: Any) -> Any:
    """Natural logarithm."""
    return xp.log(x)


log.defvjp(lambda xp, g, out, x: xp.divide(g, x), keeps=["x"])


@primitive
def log1p(xp: Any, x: Any) -> Any:
    """log(1 + x), accurate near 0."""
    return xp.log1p(x)


log1p.defvjp(lambda xp, g, out, x: xp.divide(g, xp.add(x, 1.0)), keeps=["x"])


@primitive
def log2(xp: Any, x: Any) -> Any:
    """Logarithm to base 2."""
    return xp.log2(x)


log2.defvjp(lambda xp, g, out, x: xp.divide(g, xp.multiply(x, math.log(2))), keeps=["x"])


@primitive
def log10(xp: Any, x: Any) -> Any:
    """Logarithm to base 10."""
    return xp.log10(x)


log10.defvjp(lambda xp, g, out, x: xp.divide(g, xp.multiply(x, math.log(10))), keeps=["x"])


@primitive
def logaddexp(xp: Any, x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)), without overflow."""
    return xp.logaddexp(x, y)


logaddexp.defvjp(
    lambda xp, g, out, x, y: xp.multiply(g, xp.exp(xp.subtract(x, out))),
    lambda xp, g, out, x, y: xp.multiply(g, xp.exp(xp.subtract(y, out))),
)


# -- circular and hyperbolic functions ---------------------------------------------------------


@primitive
def sin(xp: Any, x: Any) -> Any:
    """Sine of an angle in radians."""
    return xp.sin(x)


sin.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.cos(x)), keeps=["x"])


@primitive
def cos(xp: Any, x: Any) -> Any:
    """Cosine of an angle in radians."""
    return xp.cos(x)


cos.defvjp(lambda xp, g, out, x: xp.negative(xp.multiply(g, xp.sin(x))), keeps=["x"])


@primitive
def tan(xp: Any, x: Any) -> Any:
    """Tangent of an angle in radians."""
    return xp.tan(x)


tan.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.add(xp.square(out), 1.0)), keeps=["out"])


@primitive
def atan(xp: Any, x: Any) -> Any:
    """Inverse tangent, in radians."""
    return xp.atan(x)


atan.defvjp(lambda xp, g, out, x: xp.divide(g, xp.add(xp.square(x), 1.0)), keeps=["x"])


@primitive
def sinh(xp: Any, x: Any) -> Any:
    """Hyperbolic sine."""
    return xp.sinh(x)


sinh.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.cosh(x)), keeps=["x"])


@primitive
def cosh(xp: Any, x: Any) -> Any:
    """Hyperbolic cosine."""
    return xp.cosh(x)


cosh.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.sinh(x)), keeps=["x"])


@primitive
def tanh(xp: Any, x: Any) -> Any:
    """Hyperbolic tangent."""
    return xp.tanh(x)


tanh.defvjp(lambda xp, g, out, x: xp.subtract(g, xp.multiply(g, xp.square(out))), keeps=["out"])


@primitive
def asin(xp: Any, x: Any) -> Any:
    """Inverse sine, in radians."""
    return xp.asin(x)


asin.defvjp(lambda xp, g, out, x: xp.divide(g, xp.sqrt(_one_minus_square(xp, x))), keeps=["x"])


@primitive
def acos(xp: Any, x: Any) -> Any:
    """Inverse cosine, in radians."""
    return xp.acos(x)


acos.defvjp(
    lambda xp, g, out, x: xp.negative(xp.divide(g, xp.sqrt(_one_minus_square(xp, x)))), keeps=["x"]
)


@primitive
def atan2(xp: Any, x: Any, y: Any) -> Any:
    """Angle of the point whose ordinate is x and whose abscissa is y, in radians."""
    return xp.atan2(x, y)


def _over_square_radius(xp: Any, part: Any, x: Any, y: Any) -> Any:
    return xp.divide(part, xp.add(xp.multiply(x, x), xp.multiply(y, y)))


atan2.defvjp(
    lambda xp, g, out, x, y: xp.multiply(g, _over_square_radius(xp, y, x, y)),
    lambda xp, g, out, x, y: xp.negative(xp.multiply(g, _over_square_radius(xp, x, x, y))),
)


@primitive
def asinh(xp: Any, x: Any) -> Any:
    """Inverse hyperbolic sine."""
    return xp.asinh(x)


asinh.defvjp(lambda xp, g, out, x: xp.divide(g, xp.sqrt(xp.add(xp.square(x), 1.0))), keeps=["x"])


@primitive
def acosh(xp: Any, x: Any) -> Any:
    """Inverse hyperbolic cosine."""
    return xp.acosh(x)


# Two roots and not the root of the product: right on both sides of the complex branch cut.
acosh.defvjp(
    lambda xp, g, out, x: xp.divide(
        g, xp.multiply(xp.sqrt(xp.subtract(x, 1.0)), xp.sqrt(xp.add(x, 1.0)))
    )
)


@primitive
def atanh(xp: Any, x: Any) -> Any:
    """Inverse hyperbolic tangent."""
    return xp.atanh(x)


atanh.defvjp(lambda xp, g, out, x: xp.divide(g, _one_minus_square(xp, x)), keeps=["x"])


def _one_minus_square(xp: Any, x: Any) -> Any:
    """1 - x² as (1 - x)(1 + x), accurate near 1."""
    return xp.multiply(xp.add(xp.negative(x), 1.0), xp.add(x, 1.0))
