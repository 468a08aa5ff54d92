"""What dtypes are called, and what they are: short floats too, which the standard leaves out."""

from __future__ import annotations

from functools import cache
from typing import Any

from agnostic_dl import backends
from agnostic_dl.backend import DTYPE_NAMES
from agnostic_dl.errors import DTypeError

#: Floating-point dtypes of 16 bits. Libraries that have one may not count it among their own.
HALVES = ("float16", "bfloat16")


def dtype_name(dtype: Any, xp: Any = None) -> str:
    """The standard's name of a library's dtype."""
    if isinstance(dtype, str):
        return dtype
    for name in DTYPE_NAMES if xp is not None else ():
        own = getattr(xp, name, None)
        # A name that the library does not have is no dtype: NumPy takes None for float64.
        if own is not None and (own is dtype or own == dtype):
            return name
    return str(dtype).rpartition(".")[2]


@cache
def dtype_named(xp: Any, name: str) -> Any:
    """The dtype of that name, of a library or else of the backend that has its arrays."""
    found = getattr(xp, name, None)
    if found is not None:
        return found
    backend = backends.backend_of(xp.empty(()))
    if name not in backend.dtypes:
        raise DTypeError(f"the backend {backend.name!r} has no dtype {name}")
    return backend.dtypes[name]


@cache
def isdtype(xp: Any, dtype: Any, kind: str | tuple[str, ...]) -> bool:
    """As the standard's function; a short float is a "real floating" dtype."""
    if str(dtype).rpartition(".")[2] in HALVES:
        return "real floating" in kind or "numeric" in kind
    return bool(xp.isdtype(dtype, kind))
