"""Elementwise primitives, named as in the standard, each with its rules beneath it."""

from __future__ import annotations

import cmath
import math
from typing import Any

from agnostic_dl.primitives.complex_numbers import is_complex
from agnostic_dl.primitives.definition import primitive, zero

# -- arithmetic --------------------------------------------------------------------------------


@primitive
def add(xp: Any, x: Any, y: Any) -> Any:
    """x + y."""
    return xp.add(x, y)


add.defvjp(lambda xp, g, out, x, y: g, lambda xp, g, out, x, y: g, keeps=[])


@primitive
def subtract(xp: Any, x: Any, y: Any) -> Any:
    """x - y."""
    return xp.subtract(x, y)


subtract.defvjp(lambda xp, g, out, x, y: g, lambda xp, g, out, x, y: xp.negative(g), keeps=[])


@primitive
def multiply(xp: Any, x: Any, y: Any) -> Any:
    """x · y."""
    return xp.multiply(x, y)


multiply.defvjp(
    lambda xp, g, out, x, y: xp.multiply(g, y),
    lambda xp, g, out, x, y: xp.multiply(g, x),
    keeps=["x", "y"],
)


@primitive
def divide(xp: Any, x: Any, y: Any) -> Any:
    """x / y."""
    return xp.divide(x, y)


divide.defvjp(
    lambda xp, g, out, x, y: xp.divide(g, y),
    lambda xp, g, out, x, y: xp.negative(xp.divide(xp.multiply(g, out), y)),
    keeps=["y", "out"],
)


@primitive
def pow(xp: Any, x: Any, y: Any) -> Any:
    """x to the power y."""
    return xp.pow(x, y)


def _pow_base(xp: Any, g: Any, out: Any, x: Any, y: Any) -> Any:
    if not _is_array(y):  # x ** 0 is 1 wherever x is, 0 included
        return xp.zeros_like(g) if y == 0 else xp.multiply(g, xp.multiply(xp.pow(x, y - 1), y))
    flat = xp.equal(y, 0)
    slope = xp.multiply(xp.pow(x, xp.where(flat, xp.ones_like(y), xp.subtract(y, 1))), y)
    return xp.multiply(g, slope)


def _pow_exponent(xp: Any, g: Any, out: Any, x: Any, y: Any) -> Any:
    # log(0) · 0 is 0 here: x ** y does not move with y where x is 0 and y positive.
    if not _is_array(x):
        log = cmath.log(x) if isinstance(x, complex) else math.log(x) if x > 0 else 0.0
        return xp.multiply(g, xp.multiply(out, log))
    moves = xp.not_equal(x, 0) if is_complex(xp, x) else xp.greater(x, 0)
    safe = xp.where(moves, x, xp.ones_like(x))
    return xp.multiply(g, xp.multiply(out, xp.log(safe)))


pow.defvjp(_pow_base, _pow_exponent)


def _is_array(x: Any) -> bool:
    return hasattr(x, "dtype")


@primitive
def negative(xp: Any, x: Any) -> Any:
    """-x."""
    return xp.negative(x)


negative.defvjp(lambda xp, g, out, x: xp.negative(g), keeps=[])


@primitive
def positive(xp: Any, x: Any) -> Any:
    """+x, the same values."""
    return xp.positive(x)


positive.defvjp(lambda xp, g, out, x: g, keeps=[])


@primitive
def square(xp: Any, x: Any) -> Any:
    """x²."""
    return xp.square(x)


square.defvjp(lambda xp, g, out, x: xp.multiply(g, xp.multiply(x, 2.0)), keeps=["x"])


@primitive
def sqrt(xp: Any, x: Any) -> Any:
    """Square root."""
    return xp.sqrt(x)


sqrt.defvjp(lambda xp, g, out, x: xp.divide(xp.multiply(g, 0.5), out), keeps=["out"])


@primitive
def reciprocal(xp: Any, x: Any) -> Any:
    """1 / x."""
    return xp.reciprocal(x) if hasattr(xp, "reciprocal") else xp.divide(xp.ones_like(x), x)


reciprocal.defvjp(lambda xp, g, out, x: xp.negative(xp.multiply(g, xp.square(out))), keeps=["out"])


# -- choices; of two equal values the first one wins ---------------------------------------------


@primitive
def maximum(xp: Any, x: Any, y: Any) -> Any:
    """The larger of x and y; of two equal values the gradient goes to x."""
    return xp.maximum(x, y)


maximum.defvjp(
    lambda xp, g, out, x, y: xp.where(xp.greater_equal(x, y), g, xp.zeros_like(g)),
    lambda xp, g, out, x, y: xp.where(xp.greater_equal(x, y), xp.zeros_like(g), g),
    keeps=["x", "y"],
)


@primitive
def minimum(xp: Any, x: Any, y: Any) -> Any:
    """The smaller of x and y; of two equal values the gradient goes to x."""
    return xp.minimum(x, y)


minimum.defvjp(
    lambda xp, g, out, x, y: xp.where(xp.less_equal(x, y), g, xp.zeros_like(g)),
    lambda xp, g, out, x, y: xp.where(xp.less_equal(x, y), xp.zeros_like(g), g),
    keeps=["x", "y"],
)


@primitive
def where(xp: Any, condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y."""
    return xp.where(condition, x, y)


where.defvjp(
    zero,
    lambda xp, g, out, condition, x, y: xp.where(condition, g, xp.zeros_like(g)),
    lambda xp, g, out, condition, x, y: xp.where(condition, xp.zeros_like(g), g),
    keeps=["condition"],
)


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


# -- division with remainder, limits, signs ----------------------------------------------------


@primitive
def floor_divide(xp: Any, x: Any, y: Any) -> Any:
    """The largest integer not above x / y."""
    return xp.floor_divide(x, y)


floor_divide.defvjp(zero, zero)


@primitive
def remainder(xp: Any, x: Any, y: Any) -> Any:
    """x - y ⌊x / y⌋, of the sign of y."""
    return xp.remainder(x, y)


remainder.defvjp(
    lambda xp, g, out, x, y: g,
    lambda xp, g, out, x, y: xp.negative(xp.multiply(g, xp.floor(xp.divide(x, y)))),
)


@primitive
def clip(xp: Any, x: Any, min: Any = None, max: Any = None) -> Any:
    """x, not below *min* and not above *max*; at a limit the gradient goes to x."""
    return xp.clip(x, min, max)


def _clip_formula(xp: Any, x: Any, min: Any, max: Any) -> Any:
    x = x if min is None else xp.maximum(x, min)
    return x if max is None else xp.minimum(x, max)


clip.defvjp_composed(_clip_formula)


@primitive
def hypot(xp: Any, x: Any, y: Any) -> Any:
    """√(x² + y²), without overflow; its derivative at the origin is taken as 0."""
    return xp.hypot(x, y)


def _hypot_rule(xp: Any, g: Any, out: Any, leg: Any) -> Any:
    safe = xp.where(xp.equal(out, 0), xp.ones_like(out), out)
    return xp.multiply(g, xp.divide(leg, safe))


hypot.defvjp(
    lambda xp, g, out, x, y: _hypot_rule(xp, g, out, x),
    lambda xp, g, out, x, y: _hypot_rule(xp, g, out, y),
)


@primitive
def copysign(xp: Any, x: Any, y: Any) -> Any:
    """|x| with the sign of y."""
    return xp.copysign(x, y)


copysign.defvjp(
    lambda xp, g, out, x, y: xp.multiply(
        g, xp.multiply(xp.sign(x), xp.copysign(xp.ones_like(x), y))
    ),
    zero,
)


@primitive
def nextafter(xp: Any, x: Any, y: Any) -> Any:
    """The number next to x in the direction of y: x, but for rounding."""
    return xp.nextafter(x, y)


nextafter.defvjp(lambda xp, g, out, x, y: g, zero)
