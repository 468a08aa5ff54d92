"""Keys of indexing, taken apart into what is static and what is an array."""

from __future__ import annotations

import operator
from typing import Any

from agnostic_dl.primitives import Traced
from agnostic_dl.primitives.indexing import Slot


def split(key: Any, ndim: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """A static key with a Slot for each array in it, and the arrays.

    An Ellipsis is put at the end of a key without one, as libraries that are strict want it.
    """
    parts = key if isinstance(key, tuple) else (key,)
    static: list[Any] = []
    arrays: list[Any] = []
    covered, open_ended = 0, False
    for part in parts:
        if isinstance(part, list):
            raise TypeError("a list is no index: make an array of it with asarray")
        if hasattr(part, "dtype") or isinstance(part, Traced):
            part = _as_integer(part)
            if not isinstance(part, int):
                arrays.append(part)
                part = Slot(len(arrays) - 1)
        elif isinstance(part, slice):
            part = slice(*(_bound(b) for b in (part.start, part.stop, part.step)))
        open_ended = open_ended or part is Ellipsis
        covered += part is not None
        static.append(part)
    if not open_ended and not arrays and covered < ndim:
        static.append(Ellipsis)
    return tuple(static), tuple(arrays)


def _as_integer(part: Any) -> Any:
    """A 0-d array of an integer as that integer; other arrays as they are."""
    if part.shape != () or "int" not in str(part.dtype):
        return part
    return int(part)


def _bound(bound: Any) -> Any:
    return bound if bound is None or isinstance(bound, int) else as_index(bound)


def as_index(value: Any) -> int:
    """The integer that *value* stands for; CuPy's 0-d arrays have int(), and no __index__."""
    if not hasattr(value, "__index__") and hasattr(value, "dtype"):
        value = _as_integer(value)
    return operator.index(value)
