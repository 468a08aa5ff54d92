"""Primitives that move values without computing: shapes, axes, copies, padding."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.definition import primitive, zero


@primitive
def reshape(xp: Any, x: Any, *, shape: tuple[int, ...], copy: bool | None = None) -> Any:
    """The same values in C order under another shape."""
    return xp.reshape(x, tuple(shape), copy=copy)


reshape.defvjp(lambda xp, g, out, x, shape, copy: xp.reshape(g, x.shape), keeps=[])


@primitive
def permute_dims(xp: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
    """Axes in another order."""
    return xp.permute_dims(x, tuple(axes))


def _permute_rule(xp: Any, g: Any, out: Any, x: Any, axes: tuple[int, ...]) -> Any:
    forward = [a % x.ndim for a in axes]
    return xp.permute_dims(g, tuple(forward.index(a) for a in range(x.ndim)))


permute_dims.defvjp(_permute_rule, keeps=[])


@primitive
def matrix_transpose(xp: Any, x: Any) -> Any:
    """The last two axes swapped."""
    return xp.matrix_transpose(x)


matrix_transpose.defvjp(lambda xp, g, out, x: xp.matrix_transpose(g), keeps=[])


@primitive
def broadcast_to(xp: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
    """Stretched to a larger shape; the tape sums the gradient back."""
    return xp.broadcast_to(x, tuple(shape))


broadcast_to.defvjp(lambda xp, g, out, x, shape: g, keeps=[])


@primitive
def expand_dims(xp: Any, x: Any, *, axis: int = 0) -> Any:
    """A new axis of length 1."""
    return xp.expand_dims(x, axis=axis)


expand_dims.defvjp(lambda xp, g, out, x, axis: xp.reshape(g, x.shape), keeps=[])


@primitive
def squeeze(xp: Any, x: Any, *, axis: int | tuple[int, ...]) -> Any:
    """Without axes of length 1."""
    return xp.squeeze(x, axis=axis)


squeeze.defvjp(lambda xp, g, out, x, axis: xp.reshape(g, x.shape), keeps=[])


@primitive
def flip(xp: Any, x: Any, *, axis: Any = None) -> Any:
    """Reversed along the axes."""
    return xp.flip(x, axis=axis)


flip.defvjp(lambda xp, g, out, x, axis: xp.flip(g, axis=axis), keeps=[])


@primitive
def roll(xp: Any, x: Any, *, shift: Any, axis: Any = None) -> Any:
    """Shifted cyclically."""
    return xp.roll(x, shift, axis=axis)


def _roll_rule(xp: Any, g: Any, out: Any, x: Any, shift: Any, axis: Any) -> Any:
    back = tuple(-s for s in shift) if isinstance(shift, tuple) else -shift
    return xp.roll(g, back, axis=axis)


roll.defvjp(_roll_rule, keeps=[])


@primitive
def concat(xp: Any, *arrays: Any, axis: int | None = 0) -> Any:
    """Joined along an existing axis (None: flattened first)."""
    return xp.concat(arrays, axis=axis)


def _concat_rule(xp: Any, g: Any, out: Any, *arrays: Any, axis: int | None) -> list[Any]:
    grads, start = [], 0
    for array in arrays:
        length = math.prod(array.shape) if axis is None else array.shape[axis]
        key: Any = slice(start, start + length)
        if axis is not None:
            key = (slice(None),) * (axis % g.ndim) + (key, ...)
        piece = xp.getitem(g, key=key)
        grads.append(xp.reshape(piece, array.shape) if axis is None else piece)
        start += length
    return grads


concat.defvjp_variadic(_concat_rule, keeps=[])


@primitive
def stack(xp: Any, *arrays: Any, axis: int = 0) -> Any:
    """Joined along a new axis."""
    return xp.stack(arrays, axis=axis)


def _stack_rule(xp: Any, g: Any, out: Any, *arrays: Any, axis: int) -> list[Any]:
    before = (slice(None),) * (axis % g.ndim)
    return [xp.getitem(g, key=(*before, i, ...)) for i in range(len(arrays))]


stack.defvjp_variadic(_stack_rule, keeps=[])


@primitive
def pad(
    xp: Any, x: Any, *, pad_width: tuple[tuple[int, int], ...], constant_values: float = 0.0
) -> Any:
    """A border of *pad_width* = (before, after) for each axis, filled with one value."""
    import array_api_extra as xpx

    return xpx.pad(x, pad_width, constant_values=constant_values, xp=xp)


def _pad_rule(xp: Any, g: Any, out: Any, x: Any, pad_width: Any, constant_values: float) -> Any:
    key = tuple(
        slice(before, before + n) for (before, _), n in zip(pad_width, x.shape, strict=True)
    )
    return xp.getitem(g, key=key)


pad.defvjp(_pad_rule, keeps=[])


@primitive
def moveaxis(xp: Any, x: Any, *, source: Any, destination: Any) -> Any:
    """Some axes at other places, the rest in their order."""
    return xp.moveaxis(x, source, destination)


moveaxis.defvjp(
    lambda xp, g, out, x, source, destination: xp.moveaxis(
        g, source=destination, destination=source
    ),
    keeps=[],
)


@primitive
def tile(xp: Any, x: Any, *, repetitions: tuple[int, ...]) -> Any:
    """The whole of x side by side, so many times along each axis."""
    return xp.tile(x, tuple(repetitions))


def _tile_rule(xp: Any, g: Any, out: Any, x: Any, repetitions: tuple[int, ...]) -> Any:
    ndim = max(x.ndim, len(repetitions))
    times = (1,) * (ndim - len(repetitions)) + tuple(repetitions)
    lengths = (1,) * (ndim - x.ndim) + tuple(x.shape)
    pairs = [n for pair in zip(times, lengths, strict=True) for n in pair]
    total = xp.sum(xp.reshape(g, tuple(pairs)), axis=tuple(range(0, 2 * ndim, 2)))
    return xp.reshape(total, x.shape)


tile.defvjp(_tile_rule, keeps=[])


@primitive
def repeat(xp: Any, x: Any, repeats: Any, *, axis: int | None = None) -> Any:
    """Each element (along the axis; None: of x flattened) so many times."""
    return xp.repeat(x, repeats, axis=axis)


def _repeat_rule(xp: Any, g: Any, out: Any, x: Any, repeats: Any, axis: int | None) -> Any:
    from array_api_compat import device

    length = math.prod(x.shape) if axis is None else x.shape[axis]
    places = xp.repeat(xp.arange(length, device=device(x)), repeats)
    return xp.reshape(xp.take_grad(g, places, axis=axis or 0, length=length), x.shape)


repeat.defvjp(_repeat_rule, zero)


@primitive
def unstack(xp: Any, x: Any, *, axis: int = 0) -> Any:
    """The slices of x along the axis."""
    return tuple(xp.unstack(x, axis=axis))


def _unstack_rule(xp: Any, g: tuple[Any, ...], out: Any, x: Any, axis: int) -> Any:
    blank = xp.zeros_like(next(piece for piece in g if piece is not None))
    return xp.stack(*(blank if piece is None else piece for piece in g), axis=axis)


unstack.defvjp(_unstack_rule, keeps=[])


@primitive
def broadcast_arrays(xp: Any, *arrays: Any) -> Any:
    """The arrays, stretched to one shape; the tape sums the gradients back."""
    return tuple(xp.broadcast_arrays(*arrays))


broadcast_arrays.defvjp_variadic(lambda xp, g, out, *arrays: list(g), keeps=[])


@primitive
def meshgrid(xp: Any, *arrays: Any, indexing: str = "xy") -> Any:
    """Coordinates of a grid from those along each axis."""
    return tuple(xp.meshgrid(*arrays, indexing=indexing))


def _meshgrid_rule(xp: Any, g: Any, out: Any, *arrays: Any, indexing: str) -> list[Any]:
    axes = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        axes[:2] = [1, 0]

    def summed(piece: Any, own: int, array: Any) -> Any:
        others = tuple(a for a in range(len(arrays)) if a != own)
        return xp.reshape(xp.sum(piece, axis=others) if others else piece, array.shape)

    triples = zip(g, axes, arrays, strict=True)
    return [None if piece is None else summed(piece, own, array) for piece, own, array in triples]


meshgrid.defvjp_variadic(_meshgrid_rule)


@primitive
def tril(xp: Any, x: Any, *, k: int = 0) -> Any:
    """The lower triangle of each matrix, zeros above its k-th diagonal."""
    return xp.tril(x, k=k)


tril.defvjp(lambda xp, g, out, x, k: xp.tril(g, k=k), keeps=[])


@primitive
def triu(xp: Any, x: Any, *, k: int = 0) -> Any:
    """The upper triangle of each matrix, zeros below its k-th diagonal."""
    return xp.triu(x, k=k)


triu.defvjp(lambda xp, g, out, x, k: xp.triu(g, k=k), keeps=[])
