"""From a text to a function of addresses and numbers that lets go of the interpreter's lock."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from agnostic_dl_numba import files, library

#: The C types of a function's arguments, such as ("float32*", "intp").
Arguments = tuple[str, ...]


@lru_cache(256)
def compiled(text: str, arguments: Arguments) -> Callable[..., Any] | None:
    """The function `run` that a text defines, compiled for these arguments.

    What it returns takes ctypes' own objects, which are made once: an address and a number cost a
    call less than an array, which would be looked through each time. None: Numba is not there or
    did not compile it, which was said in a warning.
    """
    numba = library.numba()
    if numba is None:
        return None
    signature = numba.types.void(*(_type(numba.types, name) for name in arguments))
    try:
        made = _with_cache(numba, text, signature) or _without(numba, text, signature)
    except Exception as error:  # whatever a compiler's release may raise: there is another way
        library.give_up("able to compile a loop", error)
        return None
    function = ctypes.CFUNCTYPE(None)(made.address)
    function.made = made  # its code lives as long as this
    return function


def _type(types: Any, name: str) -> Any:
    pointer, item = name.endswith("*"), getattr(types, name.rstrip("*"))
    return types.CPointer(item) if pointer else item


def _with_cache(numba: Any, text: str, signature: Any) -> Any:
    """Compiled, or as an earlier process compiled it; None where no file can be kept."""
    path = files.stored(text)
    if path is None:
        return None
    try:
        return numba.cfunc(signature, cache=True, error_model="numpy")(_defined(text, str(path)))
    except Exception:  # a full disk, a file of Numba's that was cut off
        return None


def _without(numba: Any, text: str, signature: Any) -> Any:
    return numba.cfunc(signature, error_model="numpy")(_defined(text, "<generated>"))


def _defined(text: str, name: str) -> Callable[..., Any]:
    """The function `run` of a text; beside it there may be a `window`, of arrays that lie apart."""
    names: dict[str, Any] = {"__name__": __name__}  # which Numba imports where it loads a file
    exec(compile(text, name, "exec"), names)
    if "window" in names:
        from agnostic_dl_numba import pointers

        names["at"], names["window"] = pointers.at, pointers.apart(names["window"])
    found: Callable[..., Any] = names["run"]
    return found
