"""Reading and writing by index, and the adjoints, without a scatter."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from agnostic_dl.primitives.definition import primitive, zero


class Slot(NamedTuple):
    """Stands in a key for the array argument of that number."""

    position: int


def _filled(key: tuple[Any, ...], arrays: tuple[Any, ...]) -> Any:
    """The key with the arrays in their slots."""
    full = tuple(arrays[k.position] if isinstance(k, Slot) else k for k in key)
    return full if len(full) != 1 else full[0]


def _device(x: Any) -> Any:
    from array_api_compat import device

    return device(x)


# -- integers, slices, None and Ellipsis --------------------------------------------------------


@primitive
def getitem(xp: Any, x: Any, *, key: Any) -> Any:
    """x[key] for a key of integers, slices, None and Ellipsis."""
    return x[key]


getitem.defvjp(
    lambda xp, g, out, x, key: xp.getitem_grad(g, key=key, shape=tuple(x.shape)), keeps=[]
)


@primitive
def getitem_grad(xp: Any, g: Any, *, key: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of *shape* with *g* at [key]: the adjoint of getitem."""
    from array_api_extra import at

    blank = xp.zeros(shape, dtype=g.dtype, device=_device(g))
    key, g = _without_new_axes(xp, blank, key, g)
    return at(blank)[key].set(g, copy=False, xp=xp)


def _without_new_axes(xp: Any, x: Any, key: Any, value: Any) -> tuple[Any, Any]:
    """The key and the value without the axes that None adds, which the standard only reads."""
    if not isinstance(key, tuple) or not any(k is None for k in key):
        return key, value
    plain = tuple(k for k in key if k is not None)
    if hasattr(value, "dtype"):
        value = xp.reshape(xp.broadcast_to(value, x[key].shape), x[plain].shape)
    return plain, value


getitem_grad.defvjp(lambda xp, g, out, x, key, shape: xp.getitem(g, key=key))


# -- arrays of integers, masks -------------------------------------------------------------------


@primitive
def index(xp: Any, x: Any, *arrays: Any, key: tuple[Any, ...]) -> Any:
    """x[key] for a key with arrays: *key* holds a Slot for each of them."""
    return x[_filled(key, arrays)]


def _index_rule(xp: Any, g: Any, out: Any, x: Any, *arrays: Any, key: tuple[Any, ...]) -> list[Any]:
    size = math.prod(x.shape)
    numbers = xp.reshape(xp.arange(size, device=_device(x)), x.shape)
    places = xp.reshape(xp.index(numbers, *arrays, key=key), (-1,))
    grad = xp.take_grad(xp.reshape(g, (-1,)), places, axis=0, length=size)
    return [xp.reshape(grad, x.shape), *(None for _ in arrays)]


index.defvjp_variadic(_index_rule)


@primitive
def index_set(xp: Any, x: Any, value: Any, *arrays: Any, key: tuple[Any, ...]) -> Any:
    """A copy of x with *value* at [key]; *key* holds a Slot for each of the arrays."""
    from array_api_extra import at

    full, value = _without_new_axes(xp, x, _filled(key, arrays), value)
    return at(x)[full].set(value, copy=True, xp=xp)


def _index_set_rule(
    xp: Any, g: Any, out: Any, x: Any, value: Any, *arrays: Any, key: tuple[Any, ...]
) -> list[Any]:
    kept = xp.index_set(g, 0, *arrays, key=key)
    picked = xp.index(g, *arrays, key=key) if hasattr(value, "dtype") else None
    return [kept, picked, *(None for _ in arrays)]


index_set.defvjp_variadic(_index_set_rule)


# -- positions along an axis ---------------------------------------------------------------------


@primitive
def take(xp: Any, x: Any, indices: Any, *, axis: int | None = None) -> Any:
    """The elements at the indices along the axis."""
    return xp.take(x, indices, axis=axis)


def _take_rule(xp: Any, g: Any, out: Any, x: Any, indices: Any, axis: int | None) -> Any:
    axis = 0 if axis is None else axis % x.ndim
    if indices.ndim != 1:
        flat = (*g.shape[:axis], math.prod(indices.shape), *g.shape[axis + indices.ndim :])
        g, indices = xp.reshape(g, flat), xp.reshape(indices, (-1,))
    return xp.take_grad(g, indices, axis=axis, length=x.shape[axis])


take.defvjp(_take_rule, zero)


@primitive
def take_grad(xp: Any, g: Any, indices: Any, *, axis: int, length: int) -> Any:
    """Sums of the slices of *g* that have the same index: the adjoint of take.

    g (..., m, ...), indices (m,) → (..., length, ...). Slices are sorted by index, each run of
    equal indices is added up by a scan of log₂ m additions (no scatter, no cancellation), and its
    last element is taken.
    """
    axis, count = axis % g.ndim, g.shape[axis]
    order = (axis, *(a for a in range(g.ndim) if a != axis))
    rest = tuple(g.shape[a] for a in order[1:])
    if count == 0 or length == 0:
        shape = (*g.shape[:axis], length, *g.shape[axis + 1 :])
        return xp.zeros(shape, dtype=g.dtype, device=_device(g))
    rows = xp.reshape(xp.permute_dims(g, order), (count, math.prod(rest)))
    indices = xp.where(indices < 0, indices + length, indices)
    sorting = xp.argsort(indices)
    indices, rows = xp.take(indices, sorting, axis=0), xp.take(rows, sorting, axis=0)
    rows = _sum_runs(xp, rows, indices)
    targets = xp.arange(length, dtype=indices.dtype, device=_device(g))
    last = xp.searchsorted(indices, targets, side="right") - 1
    last = xp.where(last < 0, xp.zeros_like(last), last)
    found = xp.take(indices, last, axis=0) == targets
    sums = xp.take(rows, last, axis=0)
    sums = xp.where(found[:, None], sums, xp.zeros_like(sums))
    back = tuple(order.index(a) for a in range(g.ndim))
    return xp.permute_dims(xp.reshape(sums, (length, *rest)), back)


def _sum_runs(xp: Any, rows: Any, keys: Any) -> Any:
    """Running sums of the rows (m, r), begun anew where the sorted keys (m,) change."""
    reach = 1
    while reach < rows.shape[0]:
        same = keys[reach:] == keys[:-reach]
        before = rows[:-reach, :]
        added = rows[reach:, :] + xp.where(same[:, None], before, xp.zeros_like(before))
        rows = xp.concat([rows[:reach, :], added], axis=0)
        reach *= 2
    return rows


take_grad.defvjp(lambda xp, t, out, g, indices, axis, length: xp.take(t, indices, axis=axis), zero)


@primitive
def take_along_axis(xp: Any, x: Any, indices: Any, *, axis: int = -1) -> Any:
    """For each place of *indices* the element of x at that index along the axis."""
    return xp.take_along_axis(x, indices, axis=axis)


def _take_along_axis_rule(xp: Any, g: Any, out: Any, x: Any, indices: Any, axis: int) -> Any:
    # Both are stretched to a common shape but for the axis; then every element has its number.
    axis = axis % x.ndim
    shape = tuple(x.shape[a] if a == axis else n for a, n in enumerate(g.shape))
    size = math.prod(shape)
    numbers = xp.reshape(xp.arange(size, device=_device(g)), shape)
    places = xp.take_along_axis(numbers, xp.broadcast_to(indices, g.shape), axis=axis)
    grad = xp.take_grad(xp.reshape(g, (-1,)), xp.reshape(places, (-1,)), axis=0, length=size)
    return xp.reshape(grad, shape)  # the tape sums over what was stretched


take_along_axis.defvjp(_take_along_axis_rule, zero)
