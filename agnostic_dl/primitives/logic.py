"""Comparisons, logic and bits: results are plain and cut the graph."""

from __future__ import annotations

from typing import Any

from agnostic_dl.primitives.definition import primitive

# -- comparisons -------------------------------------------------------------------------------


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


@primitive(differentiable=False)
def logical_xor(xp: Any, x: Any, y: Any) -> Any:
    """One and not both."""
    return xp.logical_xor(x, y)


@primitive(differentiable=False)
def isinf(xp: Any, x: Any) -> Any:
    """Infinite."""
    return xp.isinf(x)


@primitive(differentiable=False)
def signbit(xp: Any, x: Any) -> Any:
    """Whether the sign bit is set, also of -0."""
    return xp.signbit(x)


# -- bits --------------------------------------------------------------------------------------


@primitive(differentiable=False)
def bitwise_and(xp: Any, x: Any, y: Any) -> Any:
    """Bits set in both."""
    return xp.bitwise_and(x, y)


@primitive(differentiable=False)
def bitwise_or(xp: Any, x: Any, y: Any) -> Any:
    """Bits set in one or both."""
    return xp.bitwise_or(x, y)


@primitive(differentiable=False)
def bitwise_xor(xp: Any, x: Any, y: Any) -> Any:
    """Bits set in one and not in both."""
    return xp.bitwise_xor(x, y)


@primitive(differentiable=False)
def bitwise_left_shift(xp: Any, x: Any, y: Any) -> Any:
    """The bits of x, y places up."""
    return xp.bitwise_left_shift(x, y)


@primitive(differentiable=False)
def bitwise_right_shift(xp: Any, x: Any, y: Any) -> Any:
    """The bits of x, y places down."""
    return xp.bitwise_right_shift(x, y)


@primitive(differentiable=False)
def bitwise_invert(xp: Any, x: Any) -> Any:
    """Every bit turned."""
    return xp.bitwise_invert(x)
