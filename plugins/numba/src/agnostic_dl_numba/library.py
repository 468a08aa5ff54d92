"""Numba: imported when something is first compiled, and done without where it does not work."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def reason() -> str | None:
    """Why Numba cannot be used here, in one line; None if it can. Imports nothing."""
    if find_spec("numba") is None:
        return "Numba is not installed: pip install numba"
    return None


@cache
def numba() -> Any:
    """The module; None, after one warning, where it is installed and does not load."""
    try:
        return import_module("numba")
    except Exception as error:  # a NumPy that it does not know yet, a broken LLVM
        give_up("loaded", error)
        return None


#: What was said to have failed.
_said: set[str] = set()


def give_up(what: str, error: Exception) -> None:
    """Say once, in one line, what failed; NumPy's own kernels stand in."""
    if what in _said:
        return
    _said.add(what)
    cause = " ".join(str(error).split())[:200]
    warnings.warn(
        f"Numba was not {what} ({type(error).__name__}: {cause}): NumPy's own kernels are used; "
        f"leave this plugin out with AGNOSTIC_DL_BLOCK=numpy.numba",
        RuntimeWarning, stacklevel=2,
    )  # fmt: skip
