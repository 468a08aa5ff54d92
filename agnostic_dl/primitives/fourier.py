"""Discrete Fourier transforms.

A rule's g is the plain derivative, and the matrix of a transform is symmetric: so each complex
transform is its own rule. Real transforms count the frequencies that they leave out twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agnostic_dl.primitives.definition import primitive

#: The scaling that undoes another.
_INVERSE = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _resize(xp: Any, x: Any, axis: int, length: int) -> Any:
    """Cut, or filled with zeros, to a length along the axis."""
    axis, have = axis % x.ndim, x.shape[axis]
    if length < have:
        return xp.getitem(x, key=(slice(None),) * axis + (slice(0, length), ...))
    if length > have:
        widths = tuple((0, length - have if a == axis else 0) for a in range(x.ndim))
        return xp.pad(x, pad_width=widths)
    return x


# -- one axis, complex -------------------------------------------------------------------------


@primitive(name="fft.fft")
def fft(xp: Any, x: Any, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Discrete Fourier transform along the axis."""
    return xp.fft.fft(x, n=n, axis=axis, norm=norm)


fft.defvjp(
    lambda xp, g, out, x, n, axis, norm: _resize(
        xp, xp.fft.fft(g, axis=axis, norm=norm), axis, x.shape[axis]
    )
)


@primitive(name="fft.ifft")
def ifft(xp: Any, x: Any, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Inverse of fft."""
    return xp.fft.ifft(x, n=n, axis=axis, norm=norm)


ifft.defvjp(
    lambda xp, g, out, x, n, axis, norm: _resize(
        xp, xp.fft.ifft(g, axis=axis, norm=norm), axis, x.shape[axis]
    )
)


# -- one axis, real ----------------------------------------------------------------------------


@primitive(name="fft.rfft")
def rfft(xp: Any, x: Any, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Transform of real numbers: the frequencies from 0 to the half."""
    return xp.fft.rfft(x, n=n, axis=axis, norm=norm)


def _rfft_rule(xp: Any, g: Any, out: Any, x: Any, n: int | None, axis: int, norm: str) -> Any:
    full = xp.fft.fft(g, n=n or x.shape[axis], axis=axis, norm=norm)
    return _resize(xp, xp.real(full), axis, x.shape[axis])


rfft.defvjp(_rfft_rule)


def _count_twice(xp: Any, half: Any, n: int, axis: int) -> Any:
    """The frequencies of a real transform of length n, doubled but for 0 and the middle one."""
    from array_api_compat import device

    axis = axis % half.ndim
    bins = half.shape[axis]
    weights = [1.0 if k == 0 or 2 * k == n else 2.0 for k in range(bins)]
    shape = tuple(bins if a == axis else 1 for a in range(half.ndim))
    dtype = xp.real(half).dtype
    factor = xp.reshape(xp.asarray(weights, dtype=dtype, device=device(half)), shape)
    return xp.multiply(half, factor)


@primitive(name="fft.irfft")
def irfft(xp: Any, x: Any, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Inverse of rfft: real numbers."""
    return xp.fft.irfft(x, n=n, axis=axis, norm=norm)


def _irfft_rule(xp: Any, g: Any, out: Any, x: Any, n: int | None, axis: int, norm: str) -> Any:
    half = xp.conj(xp.fft.rfft(g, axis=axis, norm=_INVERSE[norm]))
    return _resize(xp, _count_twice(xp, half, g.shape[axis], axis), axis, x.shape[axis])


irfft.defvjp(_irfft_rule)


@primitive(name="fft.hfft")
def hfft(xp: Any, x: Any, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Transform of a signal with Hermitian symmetry: real numbers."""
    return xp.fft.hfft(x, n=n, axis=axis, norm=norm)


def _hfft_rule(xp: Any, g: Any, out: Any, x: Any, n: int | None, axis: int, norm: str) -> Any:
    half = xp.fft.rfft(g, axis=axis, norm=norm)
    return _resize(xp, _count_twice(xp, half, g.shape[axis], axis), axis, x.shape[axis])


hfft.defvjp(_hfft_rule)


@primitive(name="fft.ihfft")
def ihfft(xp: Any, x: Any, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
    """Inverse of hfft."""
    return xp.fft.ihfft(x, n=n, axis=axis, norm=norm)


ihfft.defvjp(
    lambda xp, g, out, x, n, axis, norm: _rfft_rule(xp, xp.conj(g), out, x, n, axis, _INVERSE[norm])
)


# -- several axes --------------------------------------------------------------------------------


def _sizes(x: Any, s: Any, axes: Any) -> tuple[tuple[int | None, ...], tuple[int, ...]]:
    """Length and number of each transformed axis, as the standard defines the defaults."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    axes = tuple(a % x.ndim for a in axes)
    return (None,) * len(axes) if s is None else tuple(s), axes


@primitive(name="fft.fftn")
def fftn(xp: Any, x: Any, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    """Transform along several axes."""
    return xp.fft.fftn(x, s=s, axes=axes, norm=norm)


@primitive(name="fft.ifftn")
def ifftn(xp: Any, x: Any, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    """Inverse of fftn."""
    return xp.fft.ifftn(x, s=s, axes=axes, norm=norm)


@primitive(name="fft.rfftn")
def rfftn(xp: Any, x: Any, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    """Transform of real numbers along several axes, the last one by rfft."""
    return xp.fft.rfftn(x, s=s, axes=axes, norm=norm)


@primitive(name="fft.irfftn")
def irfftn(xp: Any, x: Any, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    """Inverse of rfftn."""
    return xp.fft.irfftn(x, s=s, axes=axes, norm=norm)


def _axis_by_axis(each: str, last: str, last_comes_first: bool = False) -> Callable[..., Any]:
    """The formula of a transform along several axes from those along one."""

    def formula(xp: Any, x: Any, *, s: Any, axes: Any, norm: str) -> Any:
        lengths, numbers = _sizes(x, s, axes)
        steps = [(each, n, a) for n, a in zip(lengths[:-1], numbers[:-1], strict=True)]
        steps.insert(0 if last_comes_first else len(steps), (last, lengths[-1], numbers[-1]))
        for name, n, axis in steps:
            x = getattr(xp.fft, name)(x, n=n, axis=axis, norm=norm)
        return x

    return formula


fftn.defvjp_composed(_axis_by_axis("fft", "fft"))
ifftn.defvjp_composed(_axis_by_axis("ifft", "ifft"))
rfftn.defvjp_composed(_axis_by_axis("fft", "rfft", last_comes_first=True))
irfftn.defvjp_composed(_axis_by_axis("ifft", "irfft"))


# -- order of the frequencies --------------------------------------------------------------------


@primitive(name="fft.fftshift")
def fftshift(xp: Any, x: Any, *, axes: Any = None) -> Any:
    """The frequency 0 moved to the middle."""
    return xp.fft.fftshift(x, axes=axes)


@primitive(name="fft.ifftshift")
def ifftshift(xp: Any, x: Any, *, axes: Any = None) -> Any:
    """Inverse of fftshift."""
    return xp.fft.ifftshift(x, axes=axes)


fftshift.defvjp(lambda xp, g, out, x, axes: xp.fft.ifftshift(g, axes=axes))
ifftshift.defvjp(lambda xp, g, out, x, axes: xp.fft.fftshift(g, axes=axes))
