"""Convolutions of oneDNN for the NumPy backend, where its library is installed.

Source: oneDNN's C API, version 3, https://uxlfoundation.github.io/oneDNN/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agnostic_dl.extend import hookimpl

#: Above the kernels of NumPy's own and of compilers.
priority = 20


@hookimpl
def agnostic_dl_kernels(backend_name: str) -> Mapping[str, Callable[..., Any]]:
    if not _serves(backend_name):
        return {}
    from agnostic_dl_onednn.kernels import KERNELS

    return KERNELS


@hookimpl
def agnostic_dl_rewrites(backend_name: str) -> Sequence[Any]:
    if not _serves(backend_name):
        return ()
    from agnostic_dl_onednn.rewrites import RULES

    return RULES


def _serves(backend_name: str) -> bool:
    if backend_name != "numpy":
        return False
    from agnostic_dl_onednn import library

    return library.reason() is None
