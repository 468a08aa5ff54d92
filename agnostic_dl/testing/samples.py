"""Random arguments for operations: shapes that broadcast, 0-d, empty, reversed, far from kinks."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """A function, and arguments at which its gradients can be checked up to *order*."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    order: int = 2


class Draw:
    """Draws arguments as arrays of the library *xp*, the same ones for the same *seed*."""

    def __init__(self, xp: Any, seed: int) -> None:
        self.xp = xp
        self.random = random.Random(seed)
        try:
            self._reverses = bool(xp.arange(2)[::-1][0] == 1)
        except ValueError:  # PyTorch has no negative strides
            self._reverses = False

    # -- choices ------------------------------------------------------------------------------

    def choice(self, *options: Any) -> Any:
        """One of the options."""
        return self.random.choice(options)

    def shape(self, least: int = 0, most: int = 3, empty: bool = True) -> Shape:
        """Up to *most* axes of lengths 1 to 4, now and then (*empty*) of length 0."""
        ndim = self.random.randint(least, most)
        sides = [self.random.randint(1, 4) for _ in range(ndim)]
        if empty and sides and self.random.random() < 0.06:
            sides[self.random.randrange(ndim)] = 0
        return tuple(sides)

    def broadcast_pair(self) -> tuple[Shape, Shape]:
        """Two shapes that broadcast."""
        shape = self.shape()

        def thinned() -> Shape:
            sides = tuple(1 if self.random.random() < 0.3 else n for n in shape)
            return sides[self.random.randint(0, len(sides)) if self.random.random() < 0.3 else 0 :]

        return self.choice((shape, thinned()), (thinned(), shape), (shape, shape))

    def axis(self, ndim: int) -> int:
        """One of the axes, counted from either end."""
        return self.random.randrange(-ndim, ndim)

    def axes(self, ndim: int) -> Any:
        """None, one axis, or several."""
        several = tuple(
            self.random.sample(range(ndim), self.random.randint(1, ndim) if ndim else 0)
        )
        return self.choice(None, self.axis(ndim), several) if ndim else None

    # -- arrays -------------------------------------------------------------------------------

    def array(self, numbers: list[Any], shape: Shape, dtype: Any = None) -> Any:
        """The numbers in that shape; now and then seen through a reversed or transposed view."""
        xp, dtype = self.xp, dtype or self.xp.float64
        if len(shape) >= 1 and self.random.random() < 0.2 and self._reverses:
            flat = xp.asarray(numbers[::-1], dtype=dtype)
            array = xp.reshape(flat, shape)
            return array[tuple(slice(None, None, -1) for _ in shape)]
        if len(shape) == 2 and self.random.random() < 0.2:
            array = xp.reshape(xp.asarray(numbers, dtype=dtype), shape[::-1])
            return xp.matrix_transpose(array)
        return xp.reshape(xp.asarray(numbers, dtype=dtype), shape)

    def reals(self, shape: Shape, low: float = -2.0, high: float = 2.0) -> Any:
        """Uniform numbers."""
        size = math.prod(shape)
        return self.array([self.random.uniform(low, high) for _ in range(size)], shape)

    def complexes(self, shape: Shape) -> Any:
        """Complex numbers off the axes."""
        numbers = [
            complex(*(self.random.choice((-1, 1)) * self.random.uniform(0.2, 2) for _ in "ab"))
            for _ in range(math.prod(shape))
        ]
        return self.array(numbers, shape, self.xp.complex128)

    def either(self, shape: Shape) -> Any:
        """Real or complex numbers."""
        return self.complexes(shape) if self.random.random() < 0.3 else self.clear(shape)

    def clear(self, shape: Shape, low: float = 0.1, high: float = 2.0) -> Any:
        """Numbers of either sign whose size is between *low* and *high*."""
        numbers = [
            self.random.choice((-1, 1)) * self.random.uniform(low, high)
            for _ in range(math.prod(shape))
        ]
        return self.array(numbers, shape)

    def between(self, shape: Shape) -> Any:
        """Numbers that are neither near an integer nor near a half."""
        numbers = [
            self.random.randint(-3, 3) + self.random.choice((0.25, 0.75))
            + self.random.uniform(-0.1, 0.1)
            for _ in range(math.prod(shape))
        ]  # fmt: skip
        return self.array(numbers, shape)

    def apart(self, shape: Shape) -> Any:
        """Numbers of which no two are close to each other, in random order."""
        size = math.prod(shape)
        numbers = [0.1 * k - 0.05 * size + self.random.uniform(-0.03, 0.03) for k in range(size)]
        self.random.shuffle(numbers)
        return self.array(numbers, shape)

    def integers(self, shape: Shape, low: int, high: int) -> Any:
        """Integers from *low* up to, not including, *high*."""
        numbers = [self.random.randrange(low, high) for _ in range(math.prod(shape))]
        return self.xp.reshape(self.xp.asarray(numbers, dtype=self.xp.int64), shape)

    def booleans(self, shape: Shape) -> Any:
        """True or False."""
        numbers = [self.random.random() < 0.5 for _ in range(math.prod(shape))]
        return self.xp.reshape(self.xp.asarray(numbers, dtype=self.xp.bool), shape)

    def matrices(self, *sizes: int, batch: bool = True, numbers: str = "real") -> Any:
        """A matrix, or a batch of them, of rank as high as can be."""
        rows, columns = sizes if len(sizes) == 2 else (sizes[0], sizes[0])
        shape = (*(self.shape(0, 1) if batch else ()), rows, columns)
        x = self.complexes(shape) if numbers == "complex" else self.reals(shape, -1, 1)
        steps = [1.5 + 0.7 * k if k == j else 0.0 for k in range(rows) for j in range(columns)]
        ridge = self.xp.reshape(self.xp.asarray(steps, dtype=x.dtype), (rows, columns))
        return 0.3 * x + ridge

    def slices(self, shape: Shape) -> tuple[Any, ...]:
        """A key of integers, slices, None and Ellipsis."""
        key: list[Any] = []
        for n in shape:
            start, step = self.random.randint(0, n), self.choice(1, 2, -1)
            step = step if self._reverses else abs(step)
            part = slice(None, None, step) if step < 0 else slice(start, None, step)
            options = [part, slice(None)] + ([self.random.randrange(-n, n)] if n else [])
            key.append(self.choice(*options))
        if self.random.random() < 0.2:
            key.insert(self.random.randint(0, len(key)), None)
        if key and self.random.random() < 0.2:
            key[-1] = Ellipsis
        elif sum(k is not None for k in key) < len(shape) or not key:
            key.append(Ellipsis)
        return tuple(key)


def waves(xp: Any, shape: Shape, step: float) -> Any:
    """Many numbers between 0.2 and 2.2 in float32, without drawing each."""
    flat = xp.sin(step * xp.arange(math.prod(shape), dtype=xp.float64)) + 1.2
    return xp.astype(xp.reshape(flat, shape), xp.float32)
