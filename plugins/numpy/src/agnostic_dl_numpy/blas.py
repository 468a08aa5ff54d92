"""The BLAS behind NumPy, called by its own names: its threads, and a sum that NumPy has not.

OpenBLAS serves one multi-threaded product at a time, and its workers spin for a while after each:
two pools on the same cores cost up to 1.7 times. So it is kept to one thread while the pool's own
threads call it. The setting belongs to the process, and is put back when the last of the calls that
asked for it ends.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from itertools import product
from threading import Lock
from typing import Any

import numpy as np

# NumPy's wheels bring OpenBLAS under names of their own; distributions have the plain ones. Those
# that end in 64_ count in 64 bits.
_SPELLINGS = tuple(product(("scipy_", ""), ("64_", "")))

_lock = Lock()
_users = 0
_before = 1


@cache
def _library() -> ctypes.CDLL | None:
    try:
        # A symbol is searched in what the module was linked with as well.
        return ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__ or "")
    except (ImportError, OSError):
        return None


def _function(name: str) -> tuple[Any, str] | None:
    """A function of the BLAS, and how its name ends."""
    for prefix, suffix in _SPELLINGS:
        found = getattr(_library(), f"{prefix}{name}{suffix}", None)
        if found is not None:
            return found, suffix
    return None


@cache
def _controls() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """The functions that read and set OpenBLAS's threads; None where NumPy has another BLAS."""
    get, put = _function("openblas_get_num_threads"), _function("openblas_set_num_threads")
    if get is None or put is None:
        return None
    put[0].restype, put[0].argtypes = None, [ctypes.c_int]
    return get[0], put[0]


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


# -- y ← ±x + b·y in one pass ----------------------------------------------------------------------

#: (how many, a, x's address, b, y's address): y ← a·x + b·y.
Axpby = Callable[[int, float, int, float, int], None]


@cache
def axpby(kind: str) -> Axpby | None:
    """The BLAS's own, for a = ±1; None: it has none, or not with the bits of NumPy's operations.

    *kind*: the dtype's character. It rounds b·y, and then the sum: so do two operations of NumPy.
    A library that leaves the first rounding out, as a fused multiply-add may, is found by trying.
    """
    name, real = _AXPBY.get(kind, (None, None))
    known = _function(name) if name and controllable() else None
    if known is None:
        return None
    function, suffix = known
    count = ctypes.c_int64 if suffix == "64_" else ctypes.c_int
    function.restype = None
    function.argtypes = [count, real, ctypes.c_void_p, count, real, ctypes.c_void_p, count]

    def call(size: int, a: float, x: int, b: float, y: int) -> None:
        function(size, a, x, 1, b, y, 1)

    return call if _rounds_as_numpy(call, np.dtype(kind)) else None


_AXPBY = {"f": ("cblas_saxpby", ctypes.c_float), "d": ("cblas_daxpby", ctypes.c_double)}


def _rounds_as_numpy(call: Axpby, dtype: Any) -> bool:
    for size, a, b in product((5, 1031), (1.0, -1.0), (1.0, 0.9, -1e-3)):
        turn = np.arange(size, dtype=dtype)
        x, y = np.sin(1.7 * turn).astype(dtype), (np.cos(2.3 * turn) * 1.1**-turn).astype(dtype)
        wanted = np.add(a * x, y * np.asarray(b, dtype))
        call(size, a, x.ctypes.data, b, y.ctypes.data)
        if not np.array_equal(y, wanted):
            return False
    return True
