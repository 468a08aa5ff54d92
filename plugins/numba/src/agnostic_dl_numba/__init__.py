"""Compiled loops for the NumPy backend, where Numba is installed.

Source: Numba's documentation, https://numba.readthedocs.io/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agnostic_dl.extend import hookimpl

#: Above the kernels of NumPy's own, below those of a library written for the task.
priority = 10


@hookimpl
def agnostic_dl_kernels(backend_name: str) -> Mapping[str, Callable[..., Any]]:
    if backend_name != "numpy":
        return {}
    from agnostic_dl_numba import library

    if library.reason() is not None:
        return {}
    from agnostic_dl_numba.kernels import KERNELS

    return KERNELS
