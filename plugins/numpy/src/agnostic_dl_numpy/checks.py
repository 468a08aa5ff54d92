"""What the kernels take: plain NumPy arrays of one dtype, float32 or float64."""

from __future__ import annotations

from typing import Any

import numpy as np

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def takes(first: Any, *others: Any) -> bool:
    """Whether all are arrays (not scalars or subclasses) of one native float dtype, none empty."""
    if type(first) is not np.ndarray or first.dtype not in _FLOATS or first.size == 0:
        return False
    return all(type(x) is np.ndarray and x.dtype == first.dtype and x.size > 0 for x in others)
