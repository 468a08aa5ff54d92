"""The attributes, methods and operators of the standard's array object, in terms of primitives."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl import backends
from agnostic_dl.errors import GradientError
from agnostic_dl.primitives import PRIMITIVES, Primitive, Traced

_SCALARS = (bool, int, float, complex)
_P = PRIMITIVES


def _apply(primitive: Primitive, x: Any, y: Any) -> Any:
    """x ∘ y, or NotImplemented where an operand is neither number nor array."""
    for operand in (x, y):
        if not isinstance(operand, (Traced, *_SCALARS)) and not hasattr(operand, "dtype"):
            return NotImplemented
    return primitive(x, y)


class ArrayObject(Traced):
    """What an array of the standard can do, for a class whose `data` is an array of a library."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy's operators leave mixed expressions to the ones below
    __hash__ = object.__hash__

    data: Any
    requires_grad: bool

    # -- attributes ---------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.data.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.data.shape)

    @property
    def dtype(self) -> Any:
        """The library's dtype of the elements."""
        return self.data.dtype

    @property
    def device(self) -> Any:
        """The device that holds the elements."""
        from array_api_compat import device

        return device(self.data)

    @property
    def T(self) -> Any:
        """The matrix transposed; only for two axes."""
        if self.ndim != 2:
            raise GradientError(f".T is for matrices, this has {self.ndim} axes: use .mT")
        return _P["matrix_transpose"](self)

    @property
    def mT(self) -> Any:
        """The last two axes swapped."""
        return _P["matrix_transpose"](self)

    # -- arithmetic and comparison -------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        return _apply(_P["add"], self, other)

    def __radd__(self, other: Any) -> Any:
        return _apply(_P["add"], other, self)

    def __sub__(self, other: Any) -> Any:
        return _apply(_P["subtract"], self, other)

    def __rsub__(self, other: Any) -> Any:
        return _apply(_P["subtract"], other, self)

    def __mul__(self, other: Any) -> Any:
        return _apply(_P["multiply"], self, other)

    def __rmul__(self, other: Any) -> Any:
        return _apply(_P["multiply"], other, self)

    def __truediv__(self, other: Any) -> Any:
        return _apply(_P["divide"], self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _apply(_P["divide"], other, self)

    def __pow__(self, other: Any) -> Any:
        return _apply(_P["pow"], self, other)

    def __rpow__(self, other: Any) -> Any:
        return _apply(_P["pow"], other, self)

    def __matmul__(self, other: Any) -> Any:
        return _apply(_P["matmul"], self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _apply(_P["matmul"], other, self)

    def __neg__(self) -> Any:
        return _P["negative"](self)

    def __pos__(self) -> Any:
        return _P["positive"](self)

    def __abs__(self) -> Any:
        return _P["abs"](self)

    def __eq__(self, other: Any) -> Any:
        return _apply(_P["equal"], self, other)

    def __ne__(self, other: Any) -> Any:
        return _apply(_P["not_equal"], self, other)

    def __lt__(self, other: Any) -> Any:
        return _apply(_P["less"], self, other)

    def __le__(self, other: Any) -> Any:
        return _apply(_P["less_equal"], self, other)

    def __gt__(self, other: Any) -> Any:
        return _apply(_P["greater"], self, other)

    def __ge__(self, other: Any) -> Any:
        return _apply(_P["greater_equal"], self, other)

    # -- indexing -----------------------------------------------------------------------------

    def __len__(self) -> int:
        if not self.data.shape:
            raise TypeError("a 0-d Tensor has no length")
        return self.data.shape[0]

    def __getitem__(self, key: Any) -> Any:
        key = key if isinstance(key, tuple) else (key,)
        if any(hasattr(k, "dtype") for k in key):
            return self._getitem_by_arrays(key)
        if Ellipsis not in key and sum(k is not None for k in key) < self.ndim:
            key = (*key, Ellipsis)
        return _P["getitem"](self, key=key)

    def _getitem_by_arrays(self, key: tuple[Any, ...]) -> Any:
        if self.requires_grad:
            raise GradientError("indexing with arrays has no gradient rule: use slices, or where()")
        plain = tuple(getattr(k, "data", k) if isinstance(k, Traced) else k for k in key)
        kind: Any = type(self)
        return kind(self.data[plain if len(plain) > 1 else plain[0]])

    def __setitem__(self, key: Any, value: Any) -> None:
        if self.requires_grad or getattr(value, "requires_grad", False):
            raise GradientError(
                "a Tensor on the tape cannot be assigned to in place: make a new one, say with "
                "where()"
            )
        self.data[key] = value.data if isinstance(value, ArrayObject) else value

    # -- leaving the tape -----------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def __float__(self) -> float:
        return float(self.data)

    def __complex__(self) -> complex:
        return complex(self.data)

    def __index__(self) -> int:
        return self.data.__index__()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.requires_grad:
            raise GradientError(
                "this Tensor requires gradients, and a host array would leave the tape: use "
                ".detach() first"
            )
        array = backends.to_numpy(self.data)
        return array if dtype is None else array.astype(dtype)

    def __dlpack__(self, **options: Any) -> Any:
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()
