"""The table of operations, continued: indexing, manipulation, products, transforms."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.indexing import Slot
from agnostic_dl.testing.operations import sampler
from agnostic_dl.testing.samples import Draw

# -- indexing ------------------------------------------------------------------------------------


@sampler("getitem")
def _getitem(d: Draw) -> Any:
    shape = d.shape()
    return (d.either(shape),), {"key": d.slices(shape)}


@sampler("getitem_grad")
def _getitem_grad(d: Draw) -> Any:
    shape = d.shape()
    key = d.slices(shape)
    return (d.reals(d.xp.zeros(shape)[key].shape),), {"key": key, "shape": shape}


def _array_key(d: Draw, shape: tuple[int, ...]) -> tuple[tuple[Any, ...], list[Any]]:
    """A mask over everything, or integer arrays, some indices twice."""
    if d.choice(True, False):
        return (Slot(0),), [d.booleans(shape)]
    places = d.choice((3,), (2, 2), (5,))
    arrays = [d.integers(places, -n, n) for n in shape]
    return tuple(Slot(i) for i in range(len(shape))), arrays


@sampler("index")
def _index(d: Draw) -> Any:
    shape = d.shape(1, empty=False)
    key, arrays = _array_key(d, shape)
    return (d.either(shape), *arrays), {"key": key}


@sampler("index_set")
def _index_set(d: Draw) -> Any:
    shape = d.shape(1, empty=False)
    if d.choice(True, False):
        return (d.reals(shape), d.reals(()), d.booleans(shape)), {"key": (Slot(0),)}
    key = d.slices(shape)
    value = d.choice(d.reals(d.xp.zeros(shape)[key].shape), d.reals(()))
    return (d.reals(shape), value), {"key": key}


@sampler("take")
def _take(d: Draw) -> Any:
    shape = d.shape(1, empty=False)
    axis = d.axis(len(shape))
    return (d.either(shape), d.integers((d.choice(0, 1, 5),), 0, shape[axis])), {"axis": axis}


@sampler("take_grad")
def _take_grad(d: Draw) -> Any:
    shape = d.shape(1)
    axis, length = d.axis(len(shape)), d.choice(1, 3)
    indices = d.integers((shape[axis],), -length, length)
    return (d.either(shape), indices), {"axis": axis, "length": length}


@sampler("take_along_axis")
def _take_along_axis(d: Draw) -> Any:
    shape = d.shape(1, empty=False)
    axis = d.axis(len(shape))
    places = [n if a != axis % len(shape) else d.choice(1, 3) for a, n in enumerate(shape)]
    return (d.reals(shape), d.integers(tuple(places), 0, shape[axis])), {"axis": axis}


# -- manipulation --------------------------------------------------------------------------------

sampler("permute_dims")(
    lambda d: (
        (x := d.either(d.shape()),),
        {"axes": tuple(d.random.sample(range(x.ndim), x.ndim))},
    )
)
sampler("reshape")(lambda d: ((x := d.either(d.shape()),), {"shape": (1, math.prod(x.shape))}))
sampler("matrix_transpose")(lambda d: ((d.either(d.shape(2)),), {}))
sampler("broadcast_to")(
    lambda d: (
        (
            d.either(
                (s := d.shape()),
            ),
        ),
        {"shape": (2, *s)},
    ),
)
sampler("expand_dims")(lambda d: ((d.either(d.shape()),), {"axis": d.choice(0, -1)}))
sampler("squeeze")(
    lambda d: ((d.either((1, *d.shape(0, 2), 1)),), {"axis": d.choice(0, -1, (0, -1))})
)
sampler("flip")(lambda d: ((x := d.either(d.shape(1)),), {"axis": d.axes(x.ndim)}))
sampler("tril", "triu")(lambda d: ((d.either(d.shape(2)),), {"k": d.choice(-1, 0, 2)}))
sampler("unstack")(lambda d: ((x := d.either(d.shape(1, empty=False)),), {"axis": d.axis(x.ndim)}))
sampler("broadcast_arrays")(lambda d: (tuple(d.either(s) for s in d.broadcast_pair()), {}))
sampler("tile")(lambda d: ((d.either(d.shape()),), {"repetitions": d.choice((2,), (1, 3), ())}))


@sampler("roll")
def _roll(d: Draw) -> Any:
    x = d.either(d.shape(1))
    several = {"shift": tuple(range(1, x.ndim + 1)), "axis": tuple(range(x.ndim))}
    return (x,), d.choice(
        {"shift": 2, "axis": None}, {"shift": -1, "axis": d.axis(x.ndim)}, several
    )


@sampler("moveaxis")
def _moveaxis(d: Draw) -> Any:
    x = d.either(d.shape(2))
    return (x,), d.choice(
        {"source": 0, "destination": -1}, {"source": (0, 1), "destination": (1, 0)}
    )


@sampler("concat", "stack")
def _join(d: Draw) -> Any:
    shape = d.shape(1)
    return tuple(d.either(shape) for _ in range(d.choice(1, 2, 3))), {"axis": d.axis(len(shape))}


@sampler("pad")
def _pad(d: Draw) -> Any:
    shape = d.shape(1)
    return (d.reals(shape),), {"pad_width": tuple((d.choice(0, 2), d.choice(0, 1)) for _ in shape)}


@sampler("repeat")
def _repeat(d: Draw) -> Any:
    shape = d.shape(1, empty=False)
    axis = d.choice(None, d.axis(len(shape)))
    length = math.prod(shape) if axis is None else shape[axis]
    return (d.either(shape), d.choice(2, d.integers((length,), 0, 3))), {"axis": axis}


@sampler("meshgrid")
def _meshgrid(d: Draw) -> Any:
    lengths = [d.choice(1, 2, 3) for _ in range(d.choice(1, 2, 3))]
    return tuple(d.reals((n,)) for n in lengths), {"indexing": d.choice("xy", "ij")}


# -- products --------------------------------------------------------------------------------------


@sampler("matmul")
def _matmul(d: Draw) -> Any:
    a, b, c = (d.choice(1, 2, 3) for _ in "abc")
    shapes = d.choice(((b,), (b,)), ((a, b), (b,)), ((b,), (b, c)), ((a, b), (b, c)),
                      ((2, a, b), (b, c)), ((2, a, b), (b,)), ((b,), (2, b, c)),
                      ((3, 1, a, b), (2, b, c)))  # fmt: skip
    return tuple(d.either(s) for s in shapes), {}


sampler("linear")(
    lambda d: ((d.reals((*d.shape(1, 2, empty=False), 3)), d.reals((3, 2)), d.reals((2,))), {})
)
sampler("vecdot")(lambda d: ((s := d.shape(1)) and (d.either(s), d.either(s)), {"axis": -1}))
sampler("linalg.outer")(lambda d: ((d.either(d.shape(1, 1)), d.either(d.shape(1, 1))), {}))
sampler("linalg.diagonal", "linalg.trace")(
    lambda d: ((d.either(d.shape(2, empty=False)),), {"offset": d.choice(0, 1, -1)})
)


@sampler("tensordot")
def _tensordot(d: Draw) -> Any:
    x, y, axes = d.choice(
        ((2, 3), (3, 2), 1), ((2,), (3,), 0), ((2, 3, 4), (3, 4, 2), 2),
        ((2, 3, 4), (4, 1, 2), ((0, 2), (2, 0))), ((2, 3), (3, 2), ((-1,), (0,))),
    )  # fmt: skip
    return (d.either(x), d.either(y)), {"axes": axes}


@sampler("linalg.cross")
def _cross(d: Draw) -> Any:
    shapes = d.choice(((3,), (3,)), ((2, 3), (3,)), ((2, 3), (2, 3)))
    return tuple(d.either(s) for s in shapes), {"axis": -1}


# -- Fourier transforms --------------------------------------------------------------------------

_NORMS = ("backward", "ortho", "forward")


@sampler("fft.fft", "fft.ifft", "fft.irfft", "fft.hfft")
def _transform(d: Draw) -> Any:
    x = d.complexes((*d.shape(0, 1), d.choice(2, 3, 5)))
    return (x,), {"n": d.choice(None, 2, 3, 6), "axis": -1, "norm": d.choice(*_NORMS)}


@sampler("fft.rfft", "fft.ihfft")
def _real_transform(d: Draw) -> Any:
    x = d.reals((d.choice(2, 3, 5), *d.shape(0, 1)))
    return (x,), {"n": d.choice(None, 2, 3, 6), "axis": 0, "norm": d.choice(*_NORMS)}


def _transform_axes(d: Draw) -> dict[str, Any]:
    s, axes = d.choice((None, None), ((3, 2), (0, 1)), ((4,), (1,)), (None, (1, 0)))
    return {"s": s, "axes": axes, "norm": d.choice(*_NORMS)}


sampler("fft.fftn", "fft.ifftn", "fft.irfftn")(
    lambda d: ((d.complexes((2, d.choice(2, 3))),), _transform_axes(d))
)
sampler("fft.rfftn")(lambda d: ((d.reals((2, d.choice(2, 3))),), _transform_axes(d)))
sampler("fft.fftshift", "fft.ifftshift")(
    lambda d: ((x := d.either(d.shape(1)),), {"axes": d.axes(x.ndim)})
)
