"""Calls of every primitive: the table's random arguments, as plain arrays for a kernel to take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agnostic_dl.autograd.operators import ArrayObject
from agnostic_dl.primitives import PRIMITIVES, Primitive
from agnostic_dl.testing.samples import Draw
from agnostic_dl.testing.table import OPERATIONS


@dataclass(frozen=True)
class Call:
    """One application of a primitive: its array arguments and the static ones, all filled in."""

    primitive: Primitive
    arrays: tuple[Any, ...]
    static: dict[str, Any]

    def reference(self, xp: Any) -> Any:
        """What the pure Array API forward gives."""
        return self.primitive.forward(xp, *self.arrays, **self.static)

    def __str__(self) -> str:
        shapes = ", ".join(
            f"{array.dtype}{tuple(array.shape)}" if hasattr(array, "shape") else repr(array)
            for array in self.arrays
        )
        static = "".join(f", {key}={value!r}" for key, value in self.static.items())
        return f"{self.primitive.name}({shapes}{static})"


class _Seen(ArrayObject):
    """An array that notes the calls of one primitive."""

    __slots__ = ("calls", "data", "wanted")
    requires_grad = False

    def __init__(self, data: Any, wanted: str, calls: list[Call]) -> None:
        self.data, self.wanted, self.calls = data, wanted, calls

    def trace(self, primitive: Primitive, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        arrays = tuple(arg.data if isinstance(arg, _Seen) else arg for arg in args)
        if primitive.name == self.wanted:
            self.calls.append(Call(primitive, arrays, dict(static)))
        return self._again(primitive.run(arrays, static))

    def _again(self, out: Any) -> Any:
        if isinstance(out, tuple):
            return tuple(self._again(item) for item in out)
        return _Seen(out, self.wanted, self.calls) if hasattr(out, "dtype") else out


def calls_of(name: str, xp: Any, count: int = 10) -> Iterator[Call]:
    """*count* calls of a primitive of the table with random arguments of the library *xp*."""
    for seed in range(count):
        sample = OPERATIONS[name](Draw(xp, seed))
        seen: list[Call] = []
        sample.function(*(_mark(arg, name, seen) for arg in sample.args))
        yield from seen


#: Primitive → shapes and static arguments of a call large enough for kernels that leave small
#: arrays to the reference.
_LARGE: dict[str, tuple[tuple[tuple[int, ...], ...], dict[str, Any]]] = {
    **{name: (((16, 28, 28, 32),), {}) for name in ("relu", "square", "sqrt", "exp", "tanh")},
    **{
        name: (((16, 28, 28, 32), (16, 28, 28, 32)), {})
        for name in ("add", "subtract", "multiply", "divide", "maximum", "relu_grad")
    },
    "sum": (((16, 28, 28, 32),), {"axis": (0, 1, 2)}),
    "matmul": (((256, 784), (784, 128)), {}),
}


def large_calls(name: str, xp: Any) -> Iterator[Call]:
    """Calls of a primitive on arrays of layers' sizes, in float32; also with a broadcast bias."""
    if name not in _LARGE:
        return
    shapes, static = _LARGE[name]
    primitive = PRIMITIVES[name]
    choices = [shapes, (shapes[0], shapes[0][-1:])] if len(shapes) == 2 and not static else [shapes]
    for chosen in choices if name != "matmul" else [shapes]:
        arrays = tuple(_waves(xp, shape, 1.7 + k) for k, shape in enumerate(chosen))
        yield Call(primitive, arrays, {**primitive.defaults, **static})


def _waves(xp: Any, shape: tuple[int, ...], step: float) -> Any:
    flat = xp.sin(step * xp.arange(math.prod(shape), dtype=xp.float64)) + 1.2
    return xp.astype(xp.reshape(flat, shape), xp.float32)


def _mark(arg: Any, name: str, seen: list[Call]) -> Any:
    if isinstance(arg, (tuple, list)):
        return type(arg)(_mark(item, name, seen) for item in arg)
    return _Seen(arg, name, seen) if hasattr(arg, "dtype") else arg


def known(name: str) -> bool:
    """Whether there is a primitive of that name with an entry in the table."""
    return name in PRIMITIVES and name in OPERATIONS
