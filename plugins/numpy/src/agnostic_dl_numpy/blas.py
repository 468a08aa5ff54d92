"""One thread for the BLAS behind NumPy while the pool's own threads call it.

OpenBLAS serves one multi-threaded product at a time, and its workers spin for a while after each:
two pools on the same cores cost up to 1.7 times. The setting belongs to the process, so it is put
back when the last of the calls that asked for it ends.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from threading import Lock

# NumPy's wheels bring OpenBLAS under names of their own; distributions have the plain ones.
_NAMES = (
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),
    ("scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"),
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("openblas_get_num_threads", "openblas_set_num_threads"),
)

_lock = Lock()
_users = 0
_before = 1


@cache
def _controls() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """The functions that read and set OpenBLAS's threads; None where NumPy has another BLAS."""
    try:
        # A symbol is searched in what the module was linked with as well.
        library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__ or "")
    except (ImportError, OSError):
        return None
    for get, put in _NAMES:
        if hasattr(library, get) and hasattr(library, put):
            setter = library[put]
            setter.restype, setter.argtypes = None, [ctypes.c_int]
            return library[get], setter
    return None


def controllable() -> bool:
    """Whether products can be kept to one thread each, so that the pool may call them."""
    return _controls() is not None


def pin() -> bool:
    """Keep every product of this process to one thread for good; False where that cannot be."""
    global _before
    controls = _controls()
    if controls is None:
        return False
    with _lock:
        controls[1](1)
        _before = 1
    return True


@contextmanager
def single_threaded() -> Iterator[None]:
    """Keep every product to the thread that calls it, until the last such context ends."""
    global _users, _before
    controls = _controls()
    if controls is None:
        yield
        return
    get, put = controls
    with _lock:
        if _users == 0:
            _before = get()
            put(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                put(_before)
