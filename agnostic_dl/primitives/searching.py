"""Searching, sorting and sets: positions are plain results, chosen values differentiate."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.definition import primitive


@primitive(differentiable=False)
def argsort(
    xp: Any, x: Any, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Any:
    """The positions of the values in their order."""
    return xp.argsort(x, axis=axis, descending=descending, stable=stable)


@primitive
def sort(xp: Any, x: Any, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The values in their order."""
    return xp.sort(x, axis=axis, descending=descending, stable=stable)


def _sort_rule(xp: Any, g: Any, out: Any, x: Any, axis: int, descending: bool, stable: bool) -> Any:
    order = xp.argsort(x, axis=axis, descending=descending)
    return xp.take_along_axis(g, xp.argsort(order, axis=axis), axis=axis)


sort.defvjp(_sort_rule)


@primitive(differentiable=False)
def searchsorted(xp: Any, x: Any, values: Any, sorter: Any = None, *, side: str = "left") -> Any:
    """Where in the sorted x each value belongs."""
    return xp.searchsorted(x, values, side=side, sorter=sorter)


@primitive(differentiable=False)
def nonzero(xp: Any, x: Any) -> Any:
    """The positions of what is not 0, one array for each axis."""
    return xp.nonzero(x)


@primitive(differentiable=False)
def count_nonzero(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """How many are not 0."""
    return xp.count_nonzero(x, axis=axis, keepdims=keepdims)


@primitive(differentiable=False)
def isin(xp: Any, x: Any, values: Any, *, invert: bool = False) -> Any:
    """Which elements of x are among the values."""
    return xp.isin(x, values, invert=invert)


# -- sets; the gradient of a value goes to its first occurrence ----------------------------------


@primitive
def unique_all(xp: Any, x: Any) -> Any:
    """Distinct values, their first positions, the inverse, and how often each occurs."""
    return xp.unique_all(x)


@primitive
def unique_counts(xp: Any, x: Any) -> Any:
    """Distinct values, and how often each occurs."""
    return xp.unique_counts(x)


@primitive
def unique_inverse(xp: Any, x: Any) -> Any:
    """Distinct values, and the position among them of each element of x."""
    return xp.unique_inverse(x)


@primitive
def unique_values(xp: Any, x: Any) -> Any:
    """Distinct values."""
    return xp.unique_values(x)


def _unique_rule(xp: Any, g: Any, out: Any, x: Any) -> Any:
    g = g[0] if isinstance(g, tuple) else g
    positions = xp.unique_all(x)[1]
    return xp.reshape(xp.take_grad(g, positions, axis=0, length=math.prod(x.shape)), x.shape)


for _primitive in (unique_all, unique_counts, unique_inverse, unique_values):
    _primitive.defvjp(_unique_rule)
