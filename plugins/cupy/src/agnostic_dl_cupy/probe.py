"""Can CuPy run here? Asked of the driver itself: CuPy's import takes half a second."""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec
from typing import Any

_INSTALL = 'pip install "cupy-cuda13x[ctk]"'


def reason() -> str | None:
    """None, or what is missing, in one line."""
    if find_spec("cupy") is None:
        return f"CuPy is not installed: {_INSTALL}"
    driver = _load_driver()
    if driver is None:
        return "no NVIDIA driver was found on this machine"
    return _without_device(driver)


def _load_driver() -> Any:
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None


def _without_device(driver: Any) -> str | None:
    status = driver.cuInit(0)
    if status != 0:
        return f"the NVIDIA driver finds no usable device (cuInit returns {status})"
    count = ctypes.c_int(0)
    driver.cuDeviceGetCount(ctypes.byref(count))
    return None if count.value else "the NVIDIA driver finds no device"
