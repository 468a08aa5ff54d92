"""The array libraries that the kits run on, and small arrays of known numbers in each."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from agnostic_dl.testing.report import NotRun

#: Name → (the module that tells whether it is installed, the namespace).
LIBRARIES = {
    "numpy": ("numpy", "array_api_compat.numpy"),
    "strict": ("array_api_strict", "array_api_strict"),
    "torch": ("torch", "array_api_compat.torch"),
    "jax": ("jax", "jax.numpy"),
}


@dataclass(frozen=True)
class Library:
    """One library by its namespace `xp`."""

    name: str
    xp: Any

    @property
    def precise(self) -> bool:
        """Whether it computes in float64 as things are set."""
        return bool(self.xp.zeros((), dtype=self.xp.float32).dtype != self.wide(self.xp.float64))

    def wide(self, dtype: Any) -> Any:
        """The dtype that an array gets when *dtype* is asked for."""
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # JAX warns where it gives float32 for float64
            return self.xp.zeros((), dtype=dtype).dtype

    @property
    def dtypes(self) -> list[Any]:
        """float32, and float64 where there is one."""
        return [self.xp.float32, *([self.xp.float64] if self.precise else [])]

    @property
    def best(self) -> Any:
        """The most precise of them."""
        return self.dtypes[-1]

    def array(
        self, shape: tuple[int, ...], seed: int, dtype: Any = None, device: Any = None
    ) -> Any:
        """Numbers in (-1.5, 1.5), the same in every library."""
        dtype = self.best if dtype is None else dtype
        draw = random.Random(seed)
        flat = [draw.uniform(-1.5, 1.5) for _ in range(math.prod(shape))]
        if not flat:
            return self.xp.zeros(shape, dtype=dtype, device=device)
        return self.xp.reshape(self.xp.asarray(flat, dtype=dtype, device=device), shape)

    def scattered(self, shape: tuple[int, ...], seed: int, dtype: Any = None) -> Any:
        """As `array`, but every second element of a larger one: not contiguous."""
        wide = self.array((*shape, 2), seed, dtype)
        return wide[..., 0]

    def numbers(self, array: Any) -> list[float]:
        """All elements as Python floats."""
        flat = self.xp.reshape(array, (math.prod(array.shape),))
        return [float(flat[i]) for i in range(flat.shape[0])]

    @contextmanager
    def strictest(self) -> Iterator[None]:
        """While in it, the library refuses all that it can be told to refuse."""
        flags = getattr(self.xp, "ArrayAPIStrictFlags", None)
        made = flags(boolean_indexing=False, data_dependent_shapes=False) if flags else None
        with made or nullcontext():
            yield


def installed() -> list[str]:
    """Names of the libraries that are there, without importing any."""
    return [name for name, (module, _) in LIBRARIES.items() if find_spec(module) is not None]


@cache
def library(name: str) -> Library:
    """A library by name; imports it."""
    return Library(name, import_module(LIBRARIES[name][1]))


def require(name: str) -> Library:
    """A library that a rule needs, or the remark that it is not installed."""
    if name not in installed():
        raise NotRun(f"{name} is not installed")
    return library(name)


def differ(a: list[float], b: list[float], tolerance: float) -> float | None:
    """The largest difference relative to the size of *b*, if above *tolerance*; NaN equals NaN."""
    scale = max([1.0, *(abs(v) for v in b if math.isfinite(v))])
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        if x == y or (math.isnan(x) and math.isnan(y)):
            continue
        gap = abs(x - y) / scale
        worst = max(worst, gap if math.isfinite(gap) else math.inf)
    return worst if worst > tolerance else None
