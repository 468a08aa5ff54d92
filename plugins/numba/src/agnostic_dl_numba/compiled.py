"""From the text of a loop to a function of addresses that lets go of the interpreter's lock."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from agnostic_dl_numba import files, library


@cache
def chain_function(text: str, kinds: tuple[str, ...]) -> Callable[..., Any] | None:
    """The chain of that text as a C function of addresses of these dtypes, start and stop.

    It takes ctypes' own objects, which are made once. None: Numba is not there or did not compile
    it, which was said in a warning.
    """
    numba = library.numba()
    if numba is None:
        return None
    try:
        made = _compiled(numba, text, kinds)
    except Exception as error:  # whatever a compiler's release may raise: there is another way
        library.give_up("able to compile a chain", error)
        return None
    function = ctypes.CFUNCTYPE(None)(made.address)
    function.made = made  # its code lives as long as this
    return function


def _compiled(numba: Any, text: str, kinds: tuple[str, ...]) -> Any:
    """By the file of this text, which Numba's own cache lies beside; else for this process only."""
    types = numba.types
    items = [types.uint8 if kind == "bool" else getattr(types, kind) for kind in kinds]
    signature = types.void(*map(types.CPointer, items), types.intp, types.intp)
    path = files.stored(text)
    if path is not None:
        try:
            function = _defined(text, str(path))
            return numba.cfunc(signature, cache=True, error_model="numpy")(function)
        except Exception:  # a full disk, a file of Numba's that was cut off
            pass
    return numba.cfunc(signature, error_model="numpy")(_defined(text, "<chain>"))


def _defined(text: str, name: str) -> Callable[..., Any]:
    """The function that the text defines."""
    names: dict[str, Any] = {}
    exec(compile(text, name, "exec"), names)
    found: Callable[..., Any] = names["chain"]
    return found
