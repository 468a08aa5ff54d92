"""Gradients against finite differences."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from agnostic_dl import backends
from agnostic_dl.autograd import Tensor, tree, vjp
from agnostic_dl.autograd.tensor import can_differentiate
from agnostic_dl.errors import ConformanceError
from agnostic_dl.primitives import library_of

#: Relative errors that are allowed, by order of the derivative.
TOLERANCES = {1: 1e-6, 2: 1e-5}

#: Central differences of sixth order: weights of f(x + k·h) - f(x - k·h), k = 1, 2, 3.
_STENCIL = (3 / 4, -3 / 20, 1 / 60)

#: One of these steps must agree: a large one rounds less, a small one stays clear of kinks.
_STEPS = (1e-3, 1e-4, 1e-5, 1e-2)


@dataclass(frozen=True)
class GradientReport:
    """The relative error found at each order, and the tolerance it kept."""

    errors: dict[int, float]
    tolerances: dict[int, float]


def check_grads(
    f: Callable[..., Any],
    args: Any,
    order: int = 2,
    *,
    seed: int = 0,
    tolerances: dict[int, float] | None = None,
) -> GradientReport:
    """Compare the gradients of *f* at *args* with finite differences, up to the given order.

    *args*: the positional arguments, one array or a tuple of arrays, Tensors or nests of them, of
    any backend; floating ones are taken in float64 (complex128). *f* may return an array or a nest
    of arrays. The Jacobian is compared by projection: for random u and v, v·J·u from the backward
    pass with differences of v·f along u. For the second order the same is done to the gradient.
    ConformanceError if the relative error exceeds 1e-6 (second order: 1e-5, or *tolerances*).

    >>> import agnostic_dl as adl
    >>> xp = adl.namespace("numpy")
    >>> report = adl.testing.check_grads(xp.sin, xp.asarray([1.0, 2.0]))
    >>> sorted(report.errors)
    [1, 2]
    """
    draw = random.Random(seed)
    args = tuple(args) if isinstance(args, (tuple, list)) else (args,)
    arrays = [leaf for leaf in tree.leaves(args) if hasattr(leaf, "dtype")]
    xp = (
        _library(arrays[0].data if isinstance(arrays[0], Tensor) else arrays[0])
        if arrays
        else backends.get_backend().xp
    )
    point = _Point(tree.map_leaves(partial(_widened, xp), args))
    limits = {**TOLERANCES, **(tolerances or {})}
    errors: dict[int, float] = {}
    function: Callable[..., list[Tensor]] = partial(_outputs, f, point)
    for level in range(1, order + 1):
        limit = limits.setdefault(level, 10.0 ** (level - 7))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a step may leave the domain; another one is tried
            errors[level], found, expected = _compare(function, point.places, draw, limit)
        if not errors[level] <= limit:
            raise ConformanceError(
                f"check_grads: the order-{level} derivative of "
                f"{getattr(f, '__name__', type(f).__name__)} is wrong: along a random direction "
                f"the backward pass gives {found:.10g}, finite differences give {expected:.10g} "
                f"(relative error {errors[level]:.2g}, allowed {limit:.0e}); if the point is a "
                f"kink, check beside it"
            )
        if level < order:
            function = _gradient_of(function, point.places, draw)
    return GradientReport(errors, limits)


class _Point:
    """Arguments, and which arrays among them are differentiated in."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.args = args
        self.places = [leaf for leaf in tree.leaves(args) if _is_floating(leaf)]

    def with_places(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments with other values in those places."""
        moved = iter(values)
        return tree.map_leaves(lambda leaf: next(moved) if _is_floating(leaf) else leaf, self.args)


def _is_floating(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and can_differentiate(leaf)


def _widened(xp: Any, leaf: Any) -> Any:
    """A plain array in double precision; integers, booleans and what is no array as they are."""
    leaf = leaf.data if isinstance(leaf, Tensor) else leaf
    if isinstance(leaf, (float, complex)) and not hasattr(leaf, "dtype"):
        leaf = xp.asarray(leaf)
    if not _is_floating(leaf):
        return leaf
    is_complex = xp.isdtype(leaf.dtype, "complex floating")
    return xp.astype(leaf, xp.complex128 if is_complex else xp.float64)


def _library(array: Any) -> Any:
    return library_of("check_grads", (array,))[1]


def _outputs(f: Callable[..., Any], point: _Point, *values: Any) -> list[Tensor]:
    """The floating arrays that f returns, given values for the places."""
    tensors = tuple(v if isinstance(v, Tensor) else Tensor(v) for v in values)
    found = tree.leaves(f(*point.with_places(tensors)))
    outs = [out if isinstance(out, Tensor) else Tensor(out) for out in found]
    return [out for out in outs if can_differentiate(out.data)]


def _gradient_of(
    f: Callable[..., list[Tensor]], places: list[Any], draw: random.Random
) -> Callable[..., list[Tensor]]:
    """The gradient of f, projected on a random cotangent, as a function of the same places."""
    cotangent = [_random_like(out.data, draw) for out in f(*places)]

    def gradient(*values: Any) -> list[Tensor]:
        tensors = [v if isinstance(v, Tensor) else Tensor(v) for v in values]
        return list(vjp(f, *tensors)[1](cotangent))

    return gradient


# -- one comparison ------------------------------------------------------------------------------


def _compare(
    f: Callable[..., list[Tensor]], places: list[Any], draw: random.Random, limit: float
) -> tuple[float, float, float]:
    """Relative error of one directional derivative, with both values."""
    outs, pull = vjp(f, *places)
    v = [_random_like(out, draw) for out in outs]
    u = [_random_like(place, draw) for place in places]
    if not v or not u:
        return 0.0, 0.0, 0.0
    grads = pull(v)
    for g, place in zip(grads, places, strict=True):
        if tuple(g.shape) != tuple(place.shape) or g.dtype != place.dtype:
            raise ConformanceError(
                f"check_grads: a gradient is {g.dtype} {tuple(g.shape)}, its argument "
                f"{place.dtype} {tuple(place.shape)}"
            )
    found = sum(map(_dot, grads, u))
    # What is nothing but rounding of terms of this size counts as 0.
    floor = 1e-3 * sum(map(_size, grads)) + 1e-4 * sum(map(_size, outs)) + 1e-8

    def along(t: float) -> float:
        moved = f(*(place + t * d for place, d in zip(places, u, strict=True)))
        return sum(_dot(w, out.data) for w, out in zip(v, moved, strict=True))

    best = (math.inf, math.nan)
    for step in _STEPS:
        expected = sum(
            weight * (along(k * step) - along(-k * step)) for k, weight in enumerate(_STENCIL, 1)
        )
        expected /= step
        error = abs(found - expected) / max(abs(expected), abs(found), floor)
        best = min(best, (error, expected), key=lambda pair: pair[0])
        if best[0] <= limit / 10:
            break
    return best[0], found, best[1]


def _random_like(array: Any, draw: random.Random) -> Any:
    """Numbers between -1 and 1 of the array's shape, dtype and device."""
    from array_api_compat import device

    xp = _library(array)
    is_complex = xp.isdtype(array.dtype, "complex floating")
    numbers: list[Any] = [
        complex(draw.uniform(-1, 1), draw.uniform(-1, 1)) if is_complex else draw.uniform(-1, 1)
        for _ in range(math.prod(array.shape))
    ]
    flat = xp.asarray(numbers, dtype=array.dtype, device=device(array))
    return xp.reshape(flat, array.shape)


def _dot(a: Any, b: Any) -> float:
    """Re Σ conj(a) · b."""
    xp = _library(a)
    if xp.isdtype(a.dtype, "complex floating"):
        return float(xp.sum(xp.real(xp.conj(a) * b)))
    return float(xp.sum(a * b))


def _size(array: Any) -> float:
    xp = _library(array)
    return float(xp.sum(xp.abs(array)))
