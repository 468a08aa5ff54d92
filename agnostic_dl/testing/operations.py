"""Every primitive, with random arguments at which its gradients can be checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.testing.samples import Draw, Sample

Sampler = Callable[[Draw], Sample]

#: Name of a primitive → a sampler. The list is complete: a test compares it with PRIMITIVES.
OPERATIONS: dict[str, Sampler] = {}


def sampler(*names: str) -> Callable[[Callable[[Draw], Any]], Any]:
    """Register ``draw(d) → (arrays, static)`` as sampler of these primitives.

    A third item, if there is one, makes the primitive's arguments from the arrays drawn; a fourth
    makes of its result what can be differentiated.
    """

    def register(draw: Callable[..., Any]) -> Any:
        for name in names:
            OPERATIONS[name] = _sampler_of(name, draw)
        return draw

    return register


def _sampler_of(name: str, draw: Callable[..., Any]) -> Sampler:
    def sample(d: Draw) -> Sample:
        arrays, static, *rest = draw(d)
        primitive = PRIMITIVES[name]
        before, after = (*rest, None, None)[:2]

        def function(*args: Any) -> Any:
            out = primitive(*(before(*args) if before else args), **static)
            return after(out) if after else out

        function.__name__ = name
        return Sample(function, arrays)

    return sample


# -- elementwise ---------------------------------------------------------------------------------


def _unary(numbers: Callable[[Draw], Any], *names: str) -> None:
    sampler(*names)(lambda d: ((numbers(d),), {}))


_unary(lambda d: d.reals(d.shape()), "atan", "asinh", "sigmoid", "isfinite", "isnan",
       "isinf", "signbit", "zeros_like", "ones_like")  # fmt: skip
_unary(lambda d: d.either(d.shape()), "negative", "positive", "square", "exp", "expm1", "sin",
       "cos", "sinh", "cosh", "copy", "real", "conj", "abs", "sign", "reciprocal")  # fmt: skip
_unary(lambda d: d.complexes(d.shape()), "imag")
_unary(lambda d: d.reals(d.shape(), -1.2, 1.2), "tan", "tanh")
_unary(lambda d: d.reals(d.shape(), -0.8, 0.8), "asin", "acos", "atanh")
_unary(lambda d: d.reals(d.shape(), 1.2, 3.0), "acosh")
_unary(lambda d: d.reals(d.shape(), 0.3, 3.0), "sqrt", "log", "log1p", "log2", "log10")
_unary(lambda d: d.between(d.shape()), "floor", "ceil", "round", "trunc")
_unary(lambda d: d.clear(d.shape()), "relu")


def _binary(numbers: Callable[[Draw, Any], Any], *names: str) -> None:
    sampler(*names)(lambda d: (tuple(numbers(d, s) for s in d.broadcast_pair()), {}))


_binary(lambda d, s: d.either(s), "add", "subtract", "multiply", "divide", "equal", "not_equal")
_binary(lambda d, s: d.clear(s, 0.3), "hypot", "atan2", "copysign", "less", "less_equal", "greater",
        "greater_equal")  # fmt: skip
_binary(lambda d, s: d.reals(s), "logaddexp", "nextafter")
_binary(lambda d, s: d.reals(s, 0.3, 2.5), "pow")
_binary(lambda d, s: d.integers(s, 0, 5), "bitwise_and", "bitwise_or", "bitwise_xor",
        "bitwise_left_shift", "bitwise_right_shift")  # fmt: skip
_unary(lambda d: d.integers(d.shape(), 0, 9), "bitwise_invert")
_unary(lambda d: d.booleans(d.shape()), "logical_not")
_binary(lambda d, s: d.booleans(s), "logical_and", "logical_or", "logical_xor")


@sampler("maximum", "minimum")
def _two_apart(d: Draw) -> Any:
    x, y = (d.between(s) for s in d.broadcast_pair())
    return (x, y + 0.5), {}  # thirds of a unit apart from x


@sampler("remainder", "floor_divide")
def _with_quotients_between(d: Draw) -> Any:
    shape = d.shape()
    y = d.clear(shape, 0.8, 1.5)
    return (d.between(shape) * y, y), {}


@sampler("where")
def _where(d: Draw) -> Any:
    a, b = d.broadcast_pair()
    return (d.booleans(d.choice(a, b)), d.either(a), d.either(b)), {}


@sampler("clip")
def _clip(d: Draw) -> Any:
    x = d.between(d.shape())
    low, high = d.choice((None, 0.5), (-0.5, 1.0), (-1.0, None), (d.xp.asarray(-0.5), 1.5))
    return (x, low, high), {}


@sampler("astype")
def _astype(d: Draw) -> Any:
    x = d.reals(d.shape())
    return (x,), {"dtype": d.choice(d.xp.float64, d.xp.complex128), "copy": d.choice(True, False)}


@sampler("to_device")
def _to_device(d: Draw) -> Any:
    from array_api_compat import device

    x = d.reals(d.shape())
    return (x,), {"device": device(x)}


# -- reductions and cumulative functions ---------------------------------------------------------


def _over_axes(d: Draw, x: Any, **more: Any) -> Any:
    return (x,), {"axis": d.axes(x.ndim), "keepdims": d.choice(True, False), **more}


sampler("sum")(lambda d: _over_axes(d, d.either(d.shape())))
sampler("prod")(lambda d: _over_axes(d, d.choice(d.either(d.shape()), _with_zero(d))))
sampler("mean")(lambda d: _over_axes(d, d.either(d.shape(empty=False))))
sampler("max", "min", "logsumexp")(lambda d: _over_axes(d, d.apart(d.shape(empty=False))))
sampler("all", "any", "count_nonzero")(lambda d: _over_axes(d, d.booleans(d.shape())))


def _with_zero(d: Draw) -> Any:
    x = d.clear(d.shape(1, 2, empty=False))
    first = d.xp.reshape(d.xp.arange(math.prod(x.shape)), x.shape) == 0
    return d.xp.where(first, d.xp.zeros_like(x), x)


@sampler("argmax", "argmin")
def _position(d: Draw) -> Any:
    x = d.apart(d.shape(1, empty=False))
    return (x,), {"axis": d.axis(x.ndim)}


@sampler("var", "std")
def _spread(d: Draw) -> Any:
    x = d.apart((*d.shape(0, 2, empty=False), 3))
    axis = d.choice(None, -1, (-1,), tuple(range(x.ndim)))
    return (x,), {"axis": axis, "correction": d.choice(0.0, 1), "keepdims": d.choice(True, False)}


@sampler("first_true")
def _first_true(d: Draw) -> Any:
    mask = d.booleans(d.shape(1))
    return (mask,), {"axis": (mask.ndim - 1,)}


@sampler("cumulative_sum", "cumulative_prod")
def _running(d: Draw) -> Any:
    x = d.choice(d.either(d.shape(1)), _with_zero(d))
    axis = d.choice(None, -1) if x.ndim == 1 else d.axis(x.ndim)
    return (x,), {"axis": axis, "include_initial": d.choice(True, False)}


@sampler("diff")
def _diff(d: Draw) -> Any:
    shape = d.shape(1, empty=False)
    ends = [d.choice(None, d.reals(shape)) for _ in "ab"]
    return (d.reals(shape), *ends), {"axis": d.axis(len(shape)), "n": d.choice(0, 1, 2)}


# -- searching, sorting, sets --------------------------------------------------------------------


@sampler("sort", "argsort")
def _sort(d: Draw) -> Any:
    x = d.apart(d.shape(1))
    return (x,), {"axis": d.axis(x.ndim), "descending": d.choice(True, False)}


_unary(lambda d: d.apart(d.shape(1)), "unique_all", "unique_counts", "unique_inverse",
       "unique_values", "nonzero")  # fmt: skip
sampler("searchsorted")(lambda d: ((d.xp.asarray([0.0, 1.0, 2.0]), d.reals(d.shape())), {}))
sampler("isin")(lambda d: ((d.integers(d.shape(), 0, 5), d.integers((3,), 0, 5)), {}))
