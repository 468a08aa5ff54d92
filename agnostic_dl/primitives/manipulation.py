"""Primitives that move values without computing: shapes, axes, slices, padding."""

from __future__ import annotations

from typing import Any

from agnostic_dl.primitives.definition import primitive


@primitive
def reshape(xp: Any, x: Any, *, shape: tuple[int, ...], copy: bool | None = None) -> Any:
    """The same values in C order under another shape."""
    return xp.reshape(x, tuple(shape), copy=copy)


reshape.defvjp(lambda xp, g, out, x, shape, copy: xp.reshape(g, x.shape))


@primitive
def permute_dims(xp: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
    """Axes in another order."""
    return xp.permute_dims(x, tuple(axes))


def _permute_rule(xp: Any, g: Any, out: Any, x: Any, axes: tuple[int, ...]) -> Any:
    forward = [a % x.ndim for a in axes]
    return xp.permute_dims(g, tuple(forward.index(a) for a in range(x.ndim)))


permute_dims.defvjp(_permute_rule)


@primitive
def matrix_transpose(xp: Any, x: Any) -> Any:
    """The last two axes swapped."""
    return xp.matrix_transpose(x)


matrix_transpose.defvjp(lambda xp, g, out, x: xp.matrix_transpose(g))


@primitive
def broadcast_to(xp: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
    """Stretched to a larger shape; the tape sums the gradient back."""
    return xp.broadcast_to(x, tuple(shape))


broadcast_to.defvjp(lambda xp, g, out, x, shape: g)


@primitive
def expand_dims(xp: Any, x: Any, *, axis: int = 0) -> Any:
    """A new axis of length 1."""
    return xp.expand_dims(x, axis=axis)


expand_dims.defvjp(lambda xp, g, out, x, axis: xp.reshape(g, x.shape))


@primitive
def squeeze(xp: Any, x: Any, *, axis: int | tuple[int, ...]) -> Any:
    """Without axes of length 1."""
    return xp.squeeze(x, axis=axis)


squeeze.defvjp(lambda xp, g, out, x, axis: xp.reshape(g, x.shape))


@primitive
def flip(xp: Any, x: Any, *, axis: Any = None) -> Any:
    """Reversed along the axes."""
    return xp.flip(x, axis=axis)


flip.defvjp(lambda xp, g, out, x, axis: xp.flip(g, axis=axis))


@primitive
def roll(xp: Any, x: Any, *, shift: Any, axis: Any = None) -> Any:
    """Shifted cyclically."""
    return xp.roll(x, shift, axis=axis)


def _roll_rule(xp: Any, g: Any, out: Any, x: Any, shift: Any, axis: Any) -> Any:
    back = tuple(-s for s in shift) if isinstance(shift, tuple) else -shift
    return xp.roll(g, back, axis=axis)


roll.defvjp(_roll_rule)


@primitive
def concat(xp: Any, *arrays: Any, axis: int | None = 0) -> Any:
    """Joined along an existing axis (None: flattened first)."""
    return xp.concat(arrays, axis=axis)


def _concat_rule(xp: Any, g: Any, out: Any, *arrays: Any, axis: int | None) -> list[Any]:
    grads, start = [], 0
    for array in arrays:
        length = array.size if axis is None else array.shape[axis]
        key: Any = slice(start, start + length)
        if axis is not None:
            key = (slice(None),) * (axis % g.ndim) + (key, ...)
        piece = xp.getitem(g, key=key)
        grads.append(xp.reshape(piece, array.shape) if axis is None else piece)
        start += length
    return grads


concat.defvjp_variadic(_concat_rule)


@primitive
def stack(xp: Any, *arrays: Any, axis: int = 0) -> Any:
    """Joined along a new axis."""
    return xp.stack(arrays, axis=axis)


def _stack_rule(xp: Any, g: Any, out: Any, *arrays: Any, axis: int) -> list[Any]:
    before = (slice(None),) * (axis % g.ndim)
    return [xp.getitem(g, key=(*before, i, ...)) for i in range(len(arrays))]


stack.defvjp_variadic(_stack_rule)


@primitive
def getitem(xp: Any, x: Any, *, key: Any) -> Any:
    """x[key] for a key of integers, slices, None and Ellipsis."""
    return x[key]


getitem.defvjp(lambda xp, g, out, x, key: xp.getitem_grad(g, key=key, shape=tuple(x.shape)))


@primitive
def getitem_grad(xp: Any, g: Any, *, key: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of *shape* with *g* at [key]: the adjoint of getitem."""
    from array_api_compat import device
    from array_api_extra import at

    blank = xp.zeros(shape, dtype=g.dtype, device=device(g))
    return at(blank)[key].set(g, copy=False, xp=xp)


getitem_grad.defvjp(lambda xp, g, out, x, key, shape: xp.getitem(g, key=key))


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


pad.defvjp(_pad_rule)
