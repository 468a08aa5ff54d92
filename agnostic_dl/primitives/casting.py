"""Copies of an array: of another dtype, on another device, blank."""

from __future__ import annotations

from typing import Any

from agnostic_dl.primitives.definition import primitive, zero


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
def astype(xp: Any, x: Any, *, dtype: Any, copy: bool = False, device: Any = None) -> Any:
    """The values of x as another dtype; without *copy* the same array where that is its dtype."""
    if device is None:
        return xp.astype(x, dtype, copy=copy)
    return xp.astype(x, dtype, copy=copy, device=device)


# The tape converts a gradient to its argument's dtype, here as everywhere.
astype.defvjp(
    lambda xp, g, out, x, dtype, copy, device: g if device is None else to_device_of(xp, g, x)
)


@primitive
def to_device(xp: Any, x: Any, *, device: Any, stream: Any = None) -> Any:
    """The same values on another device."""
    from array_api_compat import to_device as move

    return move(x, device, stream=stream)


to_device.defvjp(lambda xp, g, out, x, device, stream: to_device_of(xp, g, x))


def to_device_of(xp: Any, g: Any, x: Any) -> Any:
    """*g*, on the device where x lies."""
    from array_api_compat import device

    return xp.to_device(g, device=device(x))


@primitive
def copy(xp: Any, x: Any) -> Any:
    """An array of its own with the same values."""
    return xp.asarray(x, copy=True)


copy.defvjp(lambda xp, g, out, x: g, keeps=[])
