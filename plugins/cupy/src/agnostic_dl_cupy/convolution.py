"""Convolution by products of matrices over columns of windows, a few images at a time.

The way that is always there; cuDNN's graphs (`cudnn_graphs`) stand before it where they are
installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from agnostic_dl_cupy.blas import Blas, Matrix, Product
from agnostic_dl_cupy.elementwise import add_bias
from agnostic_dl_cupy.runtime import Launcher, Runtime, supported

_UNIT = "windows"
#: Elements of the columns that are in memory at a time.
COLUMNS = 1 << 26

Pair = tuple[int, int]
Borders = tuple[Pair, Pair]


class Geometry(NamedTuple):
    """One convolution: images (N, H, W, C), weight (kh, kw, C / groups, O), out (N, H', W', O)."""

    image: tuple[int, ...]
    weight: tuple[int, ...]
    out: tuple[int, ...]
    stride: Pair
    padding: Borders
    dilation: Pair
    groups: int

    @property
    def inner(self) -> int:
        """Elements of a window in one group."""
        return self.weight[0] * self.weight[1] * self.weight[2]

    def numbers(self) -> list[Any]:
        """The kernels' GEOMETRY."""
        numbers = (
            *self.image[1:], self.groups, self.out[1], self.out[2], *self.weight[:2],
            *self.stride, self.padding[0][0], self.padding[1][0], *self.dilation,
        )  # fmt: skip
        return [np.int32(number) for number in numbers]


def geometry(
    image: tuple[int, ...], weight: tuple[int, ...], *, stride: Pair, padding: Borders,
    dilation: Pair, groups: int,
) -> Geometry | None:  # fmt: skip
    """What the arguments mean, or None where the reference is to say what is wrong."""
    fits = image[3] == weight[2] * groups and weight[3] % groups == 0
    if not fits or min(min(pair) for pair in padding) < 0:
        return None
    size = [
        (image[1 + a] + sum(padding[a]) - dilation[a] * (weight[a] - 1) - 1) // stride[a] + 1
        for a in (0, 1)
    ]
    if min(*size, *image, *weight) < 1:
        return None
    out = (image[0], *size, weight[3])
    return Geometry(image, weight, out, stride, padding, dilation, groups)


class ByColumns:
    """The three operations on one runtime."""

    def __init__(self, runtime: Runtime, blas: Blas) -> None:
        self.runtime, self.blas = runtime, blas

    def forward(
        self, geo: Geometry, x: Any, weight: Any, bias: Any = None, *, relu: bool = False
    ) -> Any:
        """The products; bias and rectifier in one more kernel, if asked for."""
        out = self.runtime.empty(geo.out, x.dtype)
        for part, columns in self._pieces(geo, x.dtype):
            self._unfold(part, x[columns.images], columns.array)
            self._multiply(part, columns.array, weight, out[columns.images], "forward")
        if bias is not None:
            add_bias(self.runtime, out, bias, rectify=relu)
        return out

    def input_grad(self, geo: Geometry, g: Any, weight: Any) -> Any:
        out, launcher = self.runtime.empty(geo.image, g.dtype), Launcher(self.runtime, g.dtype)
        for part, columns in self._pieces(geo, g.dtype):
            self._multiply(part, columns.array, weight, g[columns.images], "input")
            image = out[columns.images]
            launcher.each(
                _UNIT, "columns_to_image", image.size, columns.array, image,
                np.int64(image.size), *part.numbers(),
            )  # fmt: skip
        return out

    def weight_grad(self, geo: Geometry, x: Any, g: Any) -> Any:
        out = self.runtime.empty(geo.weight, x.dtype)
        for part, columns in self._pieces(geo, x.dtype):
            self._unfold(part, x[columns.images], columns.array)
            beta = 0.0 if columns.images.start == 0 else 1.0
            self._multiply(part, columns.array, out, g[columns.images], "weight", beta)
        return out

    def _pieces(self, geo: Geometry, dtype: Any) -> Any:
        """(geometry of a few images, their columns in memory that is used again)."""
        windows = geo.out[1] * geo.out[2]
        per_image = windows * geo.groups * geo.inner
        count = max(min(COLUMNS // per_image, geo.image[0]), 1)
        memory = self.runtime.empty((count * per_image,), dtype)
        for start in range(0, geo.image[0], count):
            n = min(count, geo.image[0] - start)
            part = geo._replace(image=(n, *geo.image[1:]), out=(n, *geo.out[1:]))
            yield part, _Columns(slice(start, start + n), memory[: n * per_image])

    def _unfold(self, geo: Geometry, x: Any, columns: Any) -> None:
        Launcher(self.runtime, x.dtype).each(
            _UNIT, "image_to_columns", columns.size, x, columns, np.int64(columns.size),
            *geo.numbers(),
        )  # fmt: skip

    def _multiply(
        self, geo: Geometry, columns: Any, weight: Any, out: Any, kind: str, beta: float = 0.0
    ) -> None:
        """Per group: out = columns @ weight, columns = out @ weightᵀ or weight = columnsᵀ @ out."""
        rows, channels = geo.out[0] * geo.out[1] * geo.out[2], geo.out[3]
        share, step, name = channels // geo.groups, out.dtype.itemsize, out.dtype.name
        for group in range(geo.groups):
            wide = self.runtime.pointer(columns) + group * geo.inner * step
            unfolded = Matrix(wide, geo.groups * geo.inner)
            taps, result = (
                Matrix(self.runtime.pointer(a) + group * share * step, channels)
                for a in (weight, out)
            )
            turned = taps._replace(transposed=True)
            if kind == "forward":
                self.blas.multiply(Product(rows, share, geo.inner, name), unfolded, taps, result)
            elif kind == "input":
                self.blas.multiply(Product(rows, geo.inner, share, name), result, turned, unfolded)
            else:
                flipped = unfolded._replace(transposed=True)
                product = Product(geo.inner, share, rows, name, beta)
                self.blas.multiply(product, flipped, result, taps)


class _Columns(NamedTuple):
    images: slice
    array: Any


#: By identity, the weights of a program's run and what each was turned into; None: there is no run.
_turned: ContextVar[dict[int, tuple[Any, Any]] | None] = ContextVar(
    "agnostic_dl_cupy_turned", default=None
)


@contextmanager
def weights_stay() -> Iterator[None]:
    """In this context no weight is written to: each is turned once, for all that asks for it."""
    token = _turned.set({})
    try:
        yield
    finally:
        _turned.reset(token)


def outward(runtime: Runtime, weight: Any) -> Any:
    """(kh, kw, C, O) → (O, kh · kw · C)."""
    kept = _turned.get()
    if kept is None:
        return transpose(runtime, weight.reshape(-1, weight.shape[3]))
    if id(weight) not in kept:  # the weight is kept as well, or its identity would be another's
        kept[id(weight)] = weight, transpose(runtime, weight.reshape(-1, weight.shape[3]))
    return kept[id(weight)][1]


def transpose(runtime: Runtime, matrix: Any) -> Any:
    """(R, C) → (C, R), as a new C-contiguous array."""
    rows, columns = matrix.shape
    out = runtime.empty((columns, rows), matrix.dtype)
    squares = -(-rows // 32) * -(-columns // 32)
    Launcher(runtime, matrix.dtype).grid(
        _UNIT, "transpose", (min(squares, runtime.enough_blocks),), runtime.threads, matrix, out,
        np.int32(rows), np.int32(columns),
    )  # fmt: skip
    return out


class Convolutions:
    """The primitives: checks the arguments, then the first way that takes them."""

    def __init__(self, runtime: Runtime, ways: list[Any]) -> None:
        self.runtime, self.ways = runtime, ways

    def conv2d(self, xp: Any, x: Any, weight: Any, **static: Any) -> Any:
        """As the primitive: x (N, H, W, C), weight (kh, kw, C / groups, O) → (N, H', W', O)."""
        if not self._takes(x, weight):
            return NotImplemented
        return self._run("forward", geometry(x.shape, weight.shape, **static), x, weight)

    def conv2d_bias(
        self, xp: Any, x: Any, weight: Any, bias: Any, *, relu: bool = False, **static: Any
    ) -> Any:
        """As the primitive: conv2d and a bias (O,), then max(·, 0) if *relu*."""
        fits = supported(self.runtime, x, bias) and bias.shape == weight.shape[3:]
        if not fits or not self._takes(x, weight):
            return NotImplemented
        geo = geometry(x.shape, weight.shape, **static)
        return self._run("forward", geo, x, weight, bias=bias, relu=relu)

    def conv2d_input_grad(self, xp: Any, g: Any, weight: Any, *, size: Pair, **static: Any) -> Any:
        """As the primitive: g (N, H', W', O) → (N, H, W, C)."""
        if not self._takes(g, weight):
            return NotImplemented
        image = (g.shape[0], *size, weight.shape[2] * static["groups"])
        geo = geometry(image, weight.shape, **static)
        return self._run("input_grad", geo if geo and geo.out == g.shape else None, g, weight)

    def conv2d_weight_grad(self, xp: Any, x: Any, g: Any, *, kernel: Pair, **static: Any) -> Any:
        """As the primitive: x (N, H, W, C), g (N, H', W', O) → (kh, kw, C / groups, O)."""
        if not self._takes(x, g):
            return NotImplemented
        weight = (*kernel, x.shape[3] // static["groups"], g.shape[3])
        geo = geometry(x.shape, weight, **static)
        return self._run("weight_grad", geo if geo and geo.out == g.shape else None, x, g)

    def _takes(self, *arrays: Any) -> bool:
        return supported(self.runtime, *arrays) and all(a.ndim == 4 for a in arrays)

    def _run(
        self, operation: str, geo: Geometry | None, first: Any, second: Any, **epilogue: Any
    ) -> Any:
        if geo is None:
            return NotImplemented
        first, second = self.runtime.contiguous(first), self.runtime.contiguous(second)
        for way in self.ways:
            out = getattr(way, operation)(geo, first, second, **epilogue)
            if out is not NotImplemented:
                return out
        return NotImplemented
