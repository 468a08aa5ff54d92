"""The standard's functions that make Tensors of something else, and those about dtypes.

Each takes the namespace of Tensors that it belongs to as its first argument. What is given a
Tensor that is on the tape stays on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agnostic_dl.autograd import tree
from agnostic_dl.autograd.tape import Buffer
from agnostic_dl.autograd.tensor import Tensor, can_differentiate, lift
from agnostic_dl.errors import ArrayMixError
from agnostic_dl.primitives import PRIMITIVES, library_of


def plain(value: Any) -> Any:
    """The array in a Tensor; anything else as it is."""
    return value._value if isinstance(value, Tensor) else value


def made(xp: Any, array: Any) -> Tensor:
    """A Tensor of a new array; in a namespace that wants it, one that asks for a gradient."""
    wanted = xp._requires_grad and can_differentiate(array)
    return lift(array, (Buffer(), 0) if wanted else None)


def _on_tape(*values: Any) -> bool:
    return any(isinstance(v, Tensor) and v.requires_grad for v in tree.leaves(values))


def _by_library(name: str) -> Callable[..., Any]:
    """The library's function of that name, its result a new Tensor."""

    def create(xp: Any, *args: Any, **options: Any) -> Any:
        options = {key: plain(value) for key, value in options.items()}
        return made(xp, getattr(xp._library, name)(*map(plain, args), **options))

    return create


def asarray(
    xp: Any, obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None
) -> Any:
    """A Tensor of an array, of numbers, or of nested sequences that may hold Tensors."""
    if isinstance(obj, (list, tuple)) and any(isinstance(v, Tensor) for v in tree.leaves(obj)):
        obj, copy = _stacked(xp, obj), None
    if not (isinstance(obj, Tensor) and _on_tape(obj)):
        if isinstance(obj, Tensor) and not copy and _is_already(obj, dtype, device):
            return obj
        return made(xp, xp._library.asarray(plain(obj), dtype=dtype, device=device, copy=copy))
    if library_of("asarray", (obj._value,))[1] is not xp._library:
        raise ArrayMixError(
            f"asarray: a Tensor of {xp.__name__} expected, got one of another library that is on "
            f"the tape: detach() it, or compute in its own namespace"
        )
    return _converted(obj, dtype, device, copy)


def _is_already(x: Tensor, dtype: Any, device: Any) -> bool:
    return dtype in (None, x.dtype) and (device is None or device == x.device)


def _converted(x: Tensor, dtype: Any, device: Any, copy: bool | None) -> Any:
    """A Tensor on the tape with another dtype or device, or copied."""
    out: Any = x
    if dtype is not None and dtype != x.dtype:
        out = PRIMITIVES["astype"](out, dtype=dtype)
    if device is not None and device != x.device:
        out = PRIMITIVES["to_device"](out, device=device)
    if copy is False and out is not x:
        raise ValueError("asarray: another dtype or device needs a copy, which copy=False forbids")
    return PRIMITIVES["copy"](out) if copy and out is x else out


def _stacked(xp: Any, obj: Any) -> Any:
    """Nested sequences of Tensors and numbers as one Tensor, differentiable in each."""
    if not isinstance(obj, (list, tuple)):
        return obj if isinstance(obj, Tensor) else made(xp, xp._library.asarray(obj))
    pieces = [_stacked(xp, item) for item in obj]
    dtype = xp._library.result_type(
        *(piece._value for piece in pieces if isinstance(piece, Tensor))
    )
    pieces = [PRIMITIVES["astype"](piece, dtype=dtype) for piece in pieces]
    return PRIMITIVES["stack"](*pieces, axis=0)


def from_dlpack(xp: Any, x: Any, /, **options: Any) -> Any:
    """A Tensor of what another library exports; a Tensor stays on the tape."""
    if isinstance(x, Tensor) and _on_tape(x):
        return asarray(xp, x, **options)
    return made(xp, xp._library.from_dlpack(plain(x), **options))


def full(xp: Any, shape: Any, fill_value: Any, **options: Any) -> Any:
    """An array of one value, which may be a 0-d Tensor."""
    if _on_tape(fill_value):
        value = asarray(xp, fill_value, **options)
        return PRIMITIVES["broadcast_to"](value, shape=_shape(shape))
    return made(xp, xp._library.full(shape, plain(fill_value), **options))


def full_like(xp: Any, x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """An array of one value, of the shape and dtype of x."""
    if _on_tape(fill_value):
        dtype, device = dtype or x.dtype, device or x.device
        return full(xp, x.shape, fill_value, dtype=dtype, device=device)
    return made(xp, xp._library.full_like(plain(x), plain(fill_value), dtype=dtype, device=device))


def linspace(
    xp: Any, start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None,
    endpoint: bool = True,
) -> Any:  # fmt: skip
    """Evenly spaced numbers; the ends may be 0-d Tensors."""
    library = xp._library
    if not _on_tape(start, stop):
        return made(
            xp,
            library.linspace(
                plain(start), plain(stop), num, dtype=dtype, device=device, endpoint=endpoint
            ),
        )
    dtype = dtype or (start if isinstance(start, Tensor) else stop).dtype
    part = library.linspace(0.0, 1.0, num, dtype=dtype, device=device, endpoint=endpoint)
    return (stop - start) * lift(part, None) + start


def _shape(shape: Any) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def astype(xp: Any, x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """The values as another dtype; without *copy* the same array where nothing changes."""
    if not isinstance(x, Tensor):
        x = made(xp, x)
    if not copy and _is_already(x, dtype, device):
        return x
    return PRIMITIVES["astype"](x, dtype=dtype, copy=copy, device=device)


# -- about dtypes --------------------------------------------------------------------------------


@dataclass(frozen=True)
class FloatInfo:
    """What the standard's finfo tells, in Python numbers."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: Any


def finfo(xp: Any, type: Any, /) -> FloatInfo:
    """Limits of a floating-point dtype, or of a Tensor's."""
    info = xp._library.finfo(type.dtype if isinstance(type, Tensor) else type)
    return FloatInfo(
        bits=int(info.bits), eps=float(info.eps), max=float(info.max), min=float(info.min),
        smallest_normal=float(info.smallest_normal), dtype=info.dtype,
    )  # fmt: skip


def iinfo(xp: Any, type: Any, /) -> Any:
    """Limits of an integer dtype, or of a Tensor's."""
    return xp._library.iinfo(type.dtype if isinstance(type, Tensor) else type)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: _by_library(name)
    for name in (
        "arange", "empty", "empty_like", "eye", "fftfreq", "ones", "ones_like", "rfftfreq", "zeros",
        "zeros_like",
    )
}  # fmt: skip
FUNCTIONS.update(
    asarray=asarray, astype=astype, finfo=finfo, from_dlpack=from_dlpack, full=full,
    full_like=full_like, iinfo=iinfo, linspace=linspace,
)  # fmt: skip
