"""Short trajectories of an optimizer on small arrays, and how the rules compare them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from agnostic_dl.optim.raw import raw_update, scalar_arrays
from agnostic_dl.testing.libraries import Library, differ, installed, library
from agnostic_dl.testing.report import Broken, NotRun

#: 0-d, zero-size, and every rank.
SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (2, 0), (1,), (5,), (4, 3), (3, 2, 2, 4))
RATE = 0.01


@dataclass
class Subject:
    """The optimizer under test, and the trajectory that its author claims."""

    optimizer: Any
    reference: Any = None


@dataclass
class Walk:
    """A few raw steps of one array, and all that is left at the end."""

    param: Any
    state: dict[str, Any]


def walk(
    optimizer: Any, lib: Library, shape: tuple[int, ...], *, steps: int = 4, dtype: Any = None,
    device: Any = None, scattered: bool = False, seed: int = 1,
) -> Walk:  # fmt: skip
    """Steps as the bridges make them: on the library's own arrays, with 0-d scalars."""

    def make(number: int) -> Any:
        if scattered:
            return lib.scattered(shape, number, dtype)
        return lib.array(shape, number, dtype, device)

    param = make(seed)
    state = optimizer.init(lib.xp, param)
    for t in range(1, steps + 1):
        numbers = scalar_arrays(optimizer, lib.xp, RATE, t, param.dtype, device)
        param, state = raw_update(optimizer, lib.xp, param, make(seed + t), state, numbers)
    return Walk(param, state)


def numbers_of(lib: Library, taken: Walk) -> list[float]:
    """The param's and the state's elements, in order."""
    arrays = [taken.param, *(taken.state[key] for key in sorted(taken.state))]
    return [number for array in arrays for number in lib.numbers(array)]


def same(what: str, got: list[float], expected: list[float], tolerance: float = 1e-10) -> None:
    """Refuse numbers that are further apart than *tolerance*, relative to the largest."""
    if len(got) != len(expected):
        raise Broken(f"{what}: {len(got)} numbers, expected {len(expected)}")
    gap = differ(got, expected, tolerance)
    if gap is not None:
        raise Broken(f"{what}: they differ by {gap:.1e}, allowed is {tolerance:.0e}")


def any_library() -> Library:
    """NumPy, or what else is installed."""
    names = installed()
    if not names:
        raise NotRun("no array library is installed: install numpy")
    return library("numpy" if "numpy" in names else names[0])


def finite(numbers: list[float], where: str) -> None:
    """Refuse what is NaN or infinite."""
    if not all(map(math.isfinite, numbers)):
        raise Broken(f"{where}: NaN or infinite")
