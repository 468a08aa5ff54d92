"""Elementwise primitives, named as in the standard, each with its rules beneath it."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.definition import primitive, zero

# -- arithmetic --------------------------------------------------------------------------------


@primitive
def add(xp: Any, x: Any, y: Any) -> Any:
    """x + y."""
    return xp.add(x, y)


add.defvjp(lambda xp, g, out, x, y: g, lambda xp, g, out, x, y: g)


@primitive
def subtract(xp: Any, x: Any, y: Any) -> Any:
    """x - y."""
    return xp.subtract(x, y)


subtract.defvjp(lambda xp, g, out, x, y: g, lambda xp, g, out, x, y: xp.negative(g))


@primitive
def multiply(xp: Any, x: Any, y: Any) -> Any:
    """x · y."""
    return xp.multiply(x, y)


multiply.defvjp(
    lambda xp, g, out, x, y: xp.multiply(g, y),
    lambda xp, g, out, x, y: xp.multiply(g, x),
)


@primitive
def divide(xp: Any, x: Any, y: Any) -> Any:
    """x / y."""
    return xp.divide(x, y)


divide.defvjp(
    lambda xp, g, out, x, y: xp.divide(g, y),
    lambda xp, g, out, x, y: xp.negative(xp.divide(xp.multiply(g, out), y)),
)


@primitive
def pow(xp: Any, x: Any, y: Any) -> Any:
    """x to the power y."""
    return xp.pow(x, y)


def _pow_base(xp: Any, g: Any, out: Any, x: Any, y: Any) -> Any:
    return xp.multiply(g, xp.multiply(xp.pow(x, xp.subtract(y, 1) if _is_array(y) else y - 1), y))


def _pow_exponent(xp: Any, g: Any, out: Any, x: Any, y: Any) -> Any:
    # log(0) · 0 is 0 here: x ** y does not move with y where x is 0 and y positive.
    if not _is_array(x):
        return xp.multiply(g, xp.multiply(out, math.log(x) if x > 0 else 0.0))
    safe = xp.where(xp.greater(x, 0), x, xp.ones_like(x))
    return xp.multiply(g, xp.multiply(out, xp.log(safe)))


pow.defvjp(_pow_base, _pow_exponent)


def _is_array(x: Any) -> bool:
    return hasattr(x, "dtype")


@primitive
def negative(xp: Any, x: Any) -> Any:
    """-x."""
    return xp.negative(x)


negative.defvjp(lambda xp, g, out, x: xp.negative(g))


@primitive
def positive(xp: Any, x: Any) -> Any:
    """+x, the same values."""
    return xp.positive(x)


positive.defvjp(lambda xp, g, out, x: g)


@primitive
def abs(xp: Any, x: Any) -> Any:
    """Absolute value; its derivative at 0 is taken as 0."""
    return xp.abs(x)


abs.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.sign(x)))


@primitive
def square(xp: Any, x: Any) -> Any:
    """x²."""
    return xp.square(x)


square.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.multiply(x, 2.0)))


@primitive
def sqrt(xp: Any, x: Any) -> Any:
    """Square root."""
    return xp.sqrt(x)


sqrt.defvjp(lambda xp, g, out, x: xp.divide(xp.multiply(g, 0.5), out))


@primitive
def reciprocal(xp: Any, x: Any) -> Any:
    """1 / x."""
    return xp.reciprocal(x) if hasattr(xp, "reciprocal") else xp.divide(xp.ones_like(x), x)


reciprocal.defvjp(lambda xp, g, out, x: xp.negative(xp.multiply(g, xp.square(out))))


# -- exponentials and logarithms ---------------------------------------------------------------


@primitive
def exp(xp: Any, x: Any) -> Any:
    """e to the power x."""
    return xp.exp(x)


exp.defvjp(lambda xp, g, out, x: xp.multiply(g, out))


@primitive
def expm1(xp: Any, x: Any) -> Any:
    """exp(x) - 1, accurate near 0."""
    return xp.expm1(x)


expm1.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.add(out, 1.0)))


@primitive
def log(xp: Any, x: Any) -> Any:
    """Natural logarithm."""
    return xp.log(x)


log.defvjp(lambda xp, g, out, x: xp.divide(g, x))


@primitive
def log1p(xp: Any, x: Any) -> Any:
    """log(1 + x), accurate near 0."""
    return xp.log1p(x)


log1p.defvjp(lambda xp, g, out, x: xp.divide(g, xp.add(x, 1.0)))


@primitive
def log2(xp: Any, x: Any) -> Any:
    """Logarithm to base 2."""
    return xp.log2(x)


log2.defvjp(lambda xp, g, out, x: xp.divide(g, xp.multiply(x, math.log(2))))


@primitive
def log10(xp: Any, x: Any) -> Any:
    """Logarithm to base 10."""
    return xp.log10(x)


log10.defvjp(lambda xp, g, out, x: xp.divide(g, xp.multiply(x, math.log(10))))


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


sin.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.cos(x)))


@primitive
def cos(xp: Any, x: Any) -> Any:
    """Cosine of an angle in radians."""
    return xp.cos(x)


cos.defvjp(lambda xp, g, out, x: xp.negative(xp.multiply(g, xp.sin(x))))


@primitive
def tan(xp: Any, x: Any) -> Any:
    """Tangent of an angle in radians."""
    return xp.tan(x)


tan.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.add(xp.square(out), 1.0)))


@primitive
def atan(xp: Any, x: Any) -> Any:
    """Inverse tangent, in radians."""
    return xp.atan(x)


atan.defvjp(lambda xp, g, out, x: xp.divide(g, xp.add(xp.square(x), 1.0)))


@primitive
def sinh(xp: Any, x: Any) -> Any:
    """Hyperbolic sine."""
    return xp.sinh(x)


sinh.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.cosh(x)))


@primitive
def cosh(xp: Any, x: Any) -> Any:
    """Hyperbolic cosine."""
    return xp.cosh(x)


cosh.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.sinh(x)))


@primitive
def tanh(xp: Any, x: Any) -> Any:
    """Hyperbolic tangent."""
    return xp.tanh(x)


tanh.defvjp(lambda xp, g, out, x: xp.subtract(g, xp.multiply(g, xp.square(out))))


# -- choices; of two equal values the first one wins ---------------------------------------------


@primitive
def maximum(xp: Any, x: Any, y: Any) -> Any:
    """The larger of x and y; of two equal values the gradient goes to x."""
    return xp.maximum(x, y)


maximum.defvjp(
    lambda xp, g, out, x, y: xp.where(xp.greater_equal(x, y), g, xp.zeros_like(g)),
    lambda xp, g, out, x, y: xp.where(xp.greater_equal(x, y), xp.zeros_like(g), g),
)


@primitive
def minimum(xp: Any, x: Any, y: Any) -> Any:
    """The smaller of x and y; of two equal values the gradient goes to x."""
    return xp.minimum(x, y)


minimum.defvjp(
    lambda xp, g, out, x, y: xp.where(xp.less_equal(x, y), g, xp.zeros_like(g)),
    lambda xp, g, out, x, y: xp.where(xp.less_equal(x, y), xp.zeros_like(g), g),
)


@primitive
def where(xp: Any, condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y."""
    return xp.where(condition, x, y)


where.defvjp(
    zero,
    lambda xp, g, out, condition, x, y: xp.where(condition, g, xp.zeros_like(g)),
    lambda xp, g, out, condition, x, y: xp.where(condition, xp.zeros_like(g), g),
)


@primitive
def sign(xp: Any, x: Any) -> Any:
    """-1, 0 or 1: the sign of x."""
    return xp.sign(x)


sign.defvjp(zero)


@primitive
def floor(xp: Any, x: Any) -> Any:
    """The largest integer not above x."""
    return xp.floor(x)


floor.defvjp(zero)


@primitive
def ceil(xp: Any, x: Any) -> Any:
    """The smallest integer not below x."""
    return xp.ceil(x)


ceil.defvjp(zero)


@primitive
def round(xp: Any, x: Any) -> Any:
    """The nearest integer; halves go to the even one."""
    return xp.round(x)


round.defvjp(zero)


@primitive
def trunc(xp: Any, x: Any) -> Any:
    """The nearest integer towards 0."""
    return xp.trunc(x)


trunc.defvjp(zero)


@primitive
def zeros_like(xp: Any, x: Any, *, dtype: Any = None) -> Any:
    """Zeros of x's shape, dtype and device."""
    return xp.zeros_like(x, dtype=dtype)


zeros_like.defvjp(zero)


@primitive
def ones_like(xp: Any, x: Any, *, dtype: Any = None) -> Any:
    """Ones of x's shape, dtype and device."""
    return xp.ones_like(x, dtype=dtype)


ones_like.defvjp(zero)


@primitive
def astype(xp: Any, x: Any, *, dtype: Any) -> Any:
    """The values of x as another dtype; the same array where the dtype is that already."""
    return xp.astype(x, dtype, copy=False)


# The tape converts a gradient to its argument's dtype, here as everywhere.
astype.defvjp(lambda xp, g, out, x, dtype: g)


# -- comparisons and logic: plain results ------------------------------------------------------


@primitive(differentiable=False)
def equal(xp: Any, x: Any, y: Any) -> Any:
    """x == y."""
    return xp.equal(x, y)


@primitive(differentiable=False)
def not_equal(xp: Any, x: Any, y: Any) -> Any:
    """x != y."""
    return xp.not_equal(x, y)


@primitive(differentiable=False)
def less(xp: Any, x: Any, y: Any) -> Any:
    """x < y."""
    return xp.less(x, y)


@primitive(differentiable=False)
def less_equal(xp: Any, x: Any, y: Any) -> Any:
    """x <= y."""
    return xp.less_equal(x, y)


@primitive(differentiable=False)
def greater(xp: Any, x: Any, y: Any) -> Any:
    """x > y."""
    return xp.greater(x, y)


@primitive(differentiable=False)
def greater_equal(xp: Any, x: Any, y: Any) -> Any:
    """x >= y."""
    return xp.greater_equal(x, y)


@primitive(differentiable=False)
def logical_and(xp: Any, x: Any, y: Any) -> Any:
    """Both."""
    return xp.logical_and(x, y)


@primitive(differentiable=False)
def logical_or(xp: Any, x: Any, y: Any) -> Any:
    """One or both."""
    return xp.logical_or(x, y)


@primitive(differentiable=False)
def logical_not(xp: Any, x: Any) -> Any:
    """Not."""
    return xp.logical_not(x)


@primitive(differentiable=False)
def isfinite(xp: Any, x: Any) -> Any:
    """Neither NaN nor infinite."""
    return xp.isfinite(x)


@primitive(differentiable=False)
def isnan(xp: Any, x: Any) -> Any:
    """Not a number."""
    return xp.isnan(x)
