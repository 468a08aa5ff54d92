"""Calls of every primitive: the table's random arguments, as plain arrays for a kernel to take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agnostic_dl.autograd.operators import ArrayObject
from agnostic_dl.primitives import PRIMITIVES, Primitive
from agnostic_dl.testing.samples import Draw, waves
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


_IMAGE, _TAPS = (8, 16, 16, 16), (3, 3, 16, 16)
_POOL = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
_CONVOLUTION = {
    "stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1
}  # fmt: skip

#: Primitive → shapes and static arguments of a call large enough for kernels that leave small
#: arrays to the reference.
_LARGE: dict[str, tuple[tuple[tuple[int, ...], ...], dict[str, Any]]] = {
    **{name: (((16, 28, 28, 32),), {}) for name in ("relu", "square", "sqrt", "exp", "tanh")},
    **{
        name: (((16, 28, 28, 32), (16, 28, 28, 32)), {})
        for name in ("add", "subtract", "multiply", "divide", "maximum", "relu_grad")
    },
    "sum": (((16, 28, 28, 32),), {"axis": (0, 1, 2)}),
    "linear": (((256, 784), (784, 128), (128,)), {}),
    "matmul": (((256, 784), (784, 128)), {}),
    "conv2d": ((_IMAGE, _TAPS), _CONVOLUTION),
    "conv2d_bias": ((_IMAGE, _TAPS, (16,)), {**_CONVOLUTION, "relu": True}),
    "conv2d_input_grad": ((_IMAGE, _TAPS), {**_CONVOLUTION, "size": (16, 16)}),
    "conv2d_weight_grad": ((_IMAGE, _IMAGE), {**_CONVOLUTION, "kernel": (3, 3)}),
    "conv2d_weight_bias_grad": ((_IMAGE, _IMAGE), {**_CONVOLUTION, "kernel": (3, 3)}),
    "max_pool2d": ((_IMAGE,), _POOL),
    "max_pool2d_winners": ((_IMAGE,), _POOL),
    "avg_pool2d": ((_IMAGE,), {**_POOL, "count_include_pad": True}),
    "avg_pool2d_grad": (((8, 8, 8, 16),), {**_POOL, "size": (16, 16), "count_include_pad": True}),
    "batch_norm": ((_IMAGE, (16,), (16,)), {"eps": 1e-5}),
    "batch_norm_input_grad": ((_IMAGE, _IMAGE, (16,), (16,), (16,)), {"eps": 1e-5}),
    "batch_norm_weight_grad": ((_IMAGE, _IMAGE, (16,), (16,)), {"eps": 1e-5}),
    "batch_norm_relu": ((_IMAGE, (16,), (16,)), {"eps": 1e-5}),
    "batch_norm_gradients": ((_IMAGE, _IMAGE, (16,), (16,), (16,)), {"eps": 1e-5}),
}


def large_calls(name: str, xp: Any) -> Iterator[Call]:
    """Calls of a primitive on arrays of layers' sizes, in float32; also with a broadcast bias."""
    if name in ("max_pool2d_grad", "max_pool2d_route"):  # whose arguments belong together
        yield _pooled(xp, name)
    if name == "batch_norm_relu_gradients":
        yield _normalised(xp)
    if name not in _LARGE:
        return
    shapes, static = _LARGE[name]
    primitive = PRIMITIVES[name]
    choices = [shapes, (shapes[0], shapes[0][-1:])] if len(shapes) == 2 and not static else [shapes]
    for chosen in choices if name != "matmul" else [shapes]:
        arrays = tuple(waves(xp, shape, 1.7 + k) for k, shape in enumerate(chosen))
        yield Call(primitive, arrays, {**primitive.defaults, **static})


def _pooled(xp: Any, name: str) -> Call:
    image = waves(xp, _IMAGE, 1.7)
    out, winner = PRIMITIVES["max_pool2d_winners"].forward(xp, image, **_POOL)
    g = waves(xp, out.shape, 2.7)
    if name == "max_pool2d_grad":
        return Call(PRIMITIVES[name], (g, image, out), _POOL)
    return Call(PRIMITIVES[name], (g, winner), {**_POOL, "size": _IMAGE[1:3]})


def _normalised(xp: Any) -> Call:
    x, g, weight = (waves(xp, shape, 1.7) for shape in (_IMAGE, _IMAGE, (16,)))
    static = {"eps": 1e-5}
    bias = xp.zeros_like(weight)
    _, mean, var, positive = PRIMITIVES["batch_norm_relu"].forward(xp, x, weight, bias, **static)
    arrays = (g, x, mean, var, weight, positive)
    return Call(PRIMITIVES["batch_norm_relu_gradients"], arrays, static)


def _mark(arg: Any, name: str, seen: list[Call]) -> Any:
    if isinstance(arg, (tuple, list)):
        return type(arg)(_mark(item, name, seen) for item in arg)
    return _Seen(arg, name, seen) if hasattr(arg, "dtype") else arg


def known(name: str) -> bool:
    """Whether there is a primitive of that name with an entry in the table."""
    return name in PRIMITIVES and name in OPERATIONS
