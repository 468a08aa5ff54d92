"""Parameter and Buffer: the named arrays that a model consists of."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from agnostic_dl import backends, random
from agnostic_dl.autograd import Tensor
from agnostic_dl.backend import Backend
from agnostic_dl.errors import AgnosticDLError, ShapeError
from agnostic_dl.nn import init as initializers

#: Fetches the values of a parameter from whoever keeps them.
Reader = Callable[[], Any]


class UninitializedError(AgnosticDLError, RuntimeError):
    """A parameter's values were asked for before the model was initialised."""


class Parameter(Tensor):
    """A Tensor that training changes: declared by shape, filled in by the model's `init(seed)`.

    *shape*: a tuple of lengths, or an array that is taken as it is. *initializer*: see
    :mod:`agnostic_dl.nn.init`. *dtype*: by name, "float32" by default.
    """

    __slots__ = ("_reader", "dtype_name", "initializer", "shape_")

    _trainable = True

    def __init__(
        self, shape: Any, initializer: initializers.Initializer | None = None,
        dtype: str = "float32",
    ) -> None:  # fmt: skip
        declared = isinstance(shape, tuple) and all(isinstance(n, int) for n in shape)
        self.initializer = initializer or initializers.zeros
        self._edge = None
        self._reader: Reader | None = None
        self._array = None if declared else Tensor(shape).data
        self.shape_ = tuple(shape if declared else self._array.shape)
        self.dtype_name = dtype
        if not declared and self._trainable:
            self.requires_grad = True

    @property
    def data(self) -> Any:
        """The array; assigning replaces the values and keeps the shape."""
        return self._value

    @data.setter
    def data(self, array: Any) -> None:
        array = array._value if isinstance(array, Tensor) else array
        if tuple(array.shape) != self.shape_:
            raise ShapeError(
                f"a parameter of shape {self.shape_} cannot take values of shape "
                f"{tuple(array.shape)}"
            )
        self._array, self._reader = array, None
        if self._trainable and self._edge is None:
            self.requires_grad = True

    @property
    def _value(self) -> Any:
        if self._array is None and self._reader is not None:
            self._array = self._reader()
        if self._array is None:
            raise UninitializedError(
                f"a parameter of shape {self.shape_} has no values yet: call model.init(seed) or "
                f"model.load_state_dict(...) first"
            )
        return self._array

    def held_by(self, reader: Reader) -> None:
        """Let *reader* fetch the values from now on, when they are first asked for.

        A captured training step keeps them; assigning :attr:`data` takes them back.
        """
        self._array, self._reader = None, reader

    def take_back(self) -> None:
        """Have the values here again, as the reader last fetched them."""
        self._array, self._reader = self._value, None

    @property
    def reader(self) -> Reader | None:
        """Who fetches the values; None: they are here."""
        return self._reader

    def __getstate__(self) -> Any:
        _ = self._array is None and self._reader is not None and self._value
        state: Any = object.__getstate__(self)
        nothing, slots = state
        return nothing, {**slots, "_reader": None}

    @property
    def initialized(self) -> bool:
        """Whether it has values."""
        return self._array is not None or self._reader is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis, known before the values are."""
        return self.shape_

    @property
    def size(self) -> int:
        """Number of elements, known before the values are."""
        return math.prod(self.shape_)

    def initialize(self, key: random.Key, backend: Backend) -> None:
        """Draw the values from *key* on a backend's device."""
        dtype = backend.as_dtype(self.dtype_name)
        self.data = self.initializer(backend.xp, key, self.shape_, dtype, backend.device)

    def as_values(self, values: Any, current: Backend) -> Any:
        """*values* (host data or arrays) as an array in this dtype, where this parameter lives."""
        values = values.data if isinstance(values, Tensor) else values
        if not self.initialized:
            return current.asarray(values, dtype=self.dtype_name)
        return backends.backend_of(self._value).asarray(values, dtype=self._value.dtype)

    def cast(self, dtype: str) -> None:
        """Convert the values, or what they will be, to the dtype of that name."""
        if self.initialized:
            backend = backends.backend_of(self._value)
            self.data = backend.xp.astype(self._value, backend.as_dtype(dtype))
        self.dtype_name = dtype

    def __repr__(self) -> str:
        values = "" if self.initialized else ", uninitialised"
        return f"{type(self).__name__}(shape={self.shape_}, dtype={self.dtype_name}{values})"


class Buffer(Parameter):
    """State that training changes without gradients, such as running statistics."""

    __slots__ = ()

    _trainable = False
