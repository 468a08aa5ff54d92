"""The attributes, methods and operators of the standard's array object, in terms of primitives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from agnostic_dl import backends
from agnostic_dl.autograd import keys
from agnostic_dl.errors import DTypeError, GradientError, ShapeError
from agnostic_dl.primitives import PRIMITIVES, Primitive, Traced, library_of

_OPERANDS = (Traced, bool, int, float, complex)
_NO_STATIC: dict[str, Any] = {}


def _binary(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The operator of a primitive, and the reflected one."""
    primitive: Primitive = PRIMITIVES[name]

    def operator(self: Any, other: Any) -> Any:
        if isinstance(other, _OPERANDS) or hasattr(other, "dtype"):
            return self.trace(primitive, (self, other), _NO_STATIC)
        return NotImplemented

    def reflected(self: Any, other: Any) -> Any:
        if isinstance(other, _OPERANDS) or hasattr(other, "dtype"):
            return self.trace(primitive, (other, self), _NO_STATIC)
        return NotImplemented

    return operator, reflected


def _in_place(operator: Callable[..., Any]) -> Callable[..., Any]:
    """x ∘= y as the standard has it: the name is bound to x ∘ y, of x's own shape and dtype.

    The array that x held stays as it was, so that what is on the tape stays true.
    """

    def in_place(self: Any, other: Any) -> Any:
        out = operator(self, other)
        if out is NotImplemented:
            return out
        if out.shape != self.shape:
            raise ShapeError(
                f"an in-place operation keeps its shape {tuple(self.shape)}, the result would have "
                f"{tuple(out.shape)}: write x = x + y"
            )
        if out.dtype != self.dtype:
            raise DTypeError(
                f"an in-place operation keeps its dtype {self.dtype}, the result would be "
                f"{out.dtype}: convert the operand, or write x = x + y"
            )
        return out

    return in_place


def _unary(name: str) -> Callable[..., Any]:
    primitive: Primitive = PRIMITIVES[name]
    return lambda self: self.trace(primitive, (self,), _NO_STATIC)


class ArrayObject(Traced):
    """What an array of the standard can do, for a class whose `data` is an array of a library."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy's operators leave mixed expressions to the ones below
    __hash__ = object.__hash__

    data: Any
    requires_grad: bool

    @property
    def _value(self) -> Any:
        """The array, for operations that go through the primitives."""
        return self.data

    # -- attributes ---------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self._value.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._value.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self._value.shape)

    @property
    def dtype(self) -> Any:
        """The library's dtype of the elements."""
        return self._value.dtype

    @property
    def device(self) -> Any:
        """The device that holds the elements."""
        from array_api_compat import device

        return device(self._value)

    @property
    def T(self) -> Any:
        """The matrix transposed; only for two axes."""
        if self.ndim != 2:
            raise GradientError(f".T is for matrices, this has {self.ndim} axes: use .mT")
        return PRIMITIVES["matrix_transpose"](self)

    @property
    def mT(self) -> Any:
        """The last two axes swapped."""
        return PRIMITIVES["matrix_transpose"](self)

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        """The same values on another device of the library."""
        return PRIMITIVES["to_device"](self, device=device, stream=stream)

    # -- operators ----------------------------------------------------------------------------

    __add__, __radd__ = _binary("add")
    __sub__, __rsub__ = _binary("subtract")
    __mul__, __rmul__ = _binary("multiply")
    __truediv__, __rtruediv__ = _binary("divide")
    __floordiv__, __rfloordiv__ = _binary("floor_divide")
    __mod__, __rmod__ = _binary("remainder")
    __pow__, __rpow__ = _binary("pow")
    __matmul__, __rmatmul__ = _binary("matmul")
    __and__, __rand__ = _binary("bitwise_and")
    __or__, __ror__ = _binary("bitwise_or")
    __xor__, __rxor__ = _binary("bitwise_xor")
    __lshift__, __rlshift__ = _binary("bitwise_left_shift")
    __rshift__, __rrshift__ = _binary("bitwise_right_shift")

    __iadd__, __isub__, __imul__ = _in_place(__add__), _in_place(__sub__), _in_place(__mul__)
    __itruediv__, __ifloordiv__ = _in_place(__truediv__), _in_place(__floordiv__)
    __imod__, __ipow__, __imatmul__ = _in_place(__mod__), _in_place(__pow__), _in_place(__matmul__)
    __iand__, __ior__, __ixor__ = _in_place(__and__), _in_place(__or__), _in_place(__xor__)
    __ilshift__, __irshift__ = _in_place(__lshift__), _in_place(__rshift__)

    __lt__, __gt__ = _binary("less")[0], _binary("greater")[0]
    __le__, __ge__ = _binary("less_equal")[0], _binary("greater_equal")[0]
    __eq__, __ne__ = _binary("equal")[0], _binary("not_equal")[0]

    __neg__, __pos__, __abs__ = _unary("negative"), _unary("positive"), _unary("abs")
    __invert__ = _unary("bitwise_invert")

    # -- indexing -----------------------------------------------------------------------------

    def __len__(self) -> int:
        if not self._value.shape:
            raise TypeError("a 0-d Tensor has no length")
        return self._value.shape[0]

    def __getitem__(self, key: Any, /) -> Any:
        static, arrays = keys.split(key, self.ndim)
        if arrays:
            return PRIMITIVES["index"](self, *arrays, key=static)
        return PRIMITIVES["getitem"](self, key=static)

    def __setitem__(self, key: Any, value: Any, /) -> None:
        """Bind this Tensor to a copy with *value* at the key; differentiable in the value."""
        if not self._fillable():
            raise GradientError(
                "a Tensor on the tape cannot be assigned to in place: make a new one, say with "
                "where(), or fill a new array (from zeros, empty, asarray(..., copy=True), ...)"
            )
        static, arrays = keys.split(key, self.ndim)
        self._rebind(PRIMITIVES["index_set"](self, value, *arrays, key=static))

    def _fillable(self) -> bool:
        raise NotImplementedError

    def _rebind(self, new: Any) -> None:
        raise NotImplementedError

    # -- leaving the tape -----------------------------------------------------------------------

    def _scalar(self, kind: Callable[[Any], Any]) -> Any:
        """The one element, as a Python number."""
        data = self.data
        if math.prod(data.shape) != 1:
            raise ShapeError(
                f"{kind.__name__}() needs a Tensor with a single element, this one has shape "
                f"{tuple(data.shape)}: reduce or index it first"
            )
        return kind(data if data.shape == () else data[(0,) * len(data.shape)])

    def __bool__(self) -> bool:
        return self._scalar(bool)

    def __int__(self) -> int:
        return self._scalar(int)

    def __float__(self) -> float:
        return self._scalar(float)

    def __complex__(self) -> complex:
        return self._scalar(complex)

    def __index__(self) -> int:
        return keys.as_index(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.requires_grad:
            raise GradientError(
                "this Tensor requires gradients, and a host array would leave the tape: use "
                ".detach() first"
            )
        library = library_of("Tensor", (self.data,))[1]
        array = backends.to_numpy(library.asarray(self.data))  # a library's scalar is an array here
        return array if dtype is None else array.astype(dtype)

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None,
        copy: bool | None = None,
    ) -> Any:  # fmt: skip
        options = {"stream": stream, "max_version": max_version, "dl_device": dl_device}
        options |= {} if copy is None else {"copy": copy}
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()
