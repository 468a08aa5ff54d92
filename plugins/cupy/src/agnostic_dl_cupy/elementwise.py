"""Rectifier and dropout masks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from agnostic_dl_cupy import templates
from agnostic_dl_cupy.runtime import Launcher, Runtime, supported

_UNIT = "elementwise"


def relu(runtime: Runtime, xp: Any, x: Any) -> Any:
    """As the primitive: max(x, 0)."""
    if not supported(runtime, x):
        return NotImplemented
    launcher, x = Launcher(runtime, x.dtype), runtime.contiguous(x)
    out = launcher.empty(x.shape)
    launcher.each(_UNIT, "relu", x.size, x, out, np.int64(x.size))
    return out


def relu_grad(runtime: Runtime, xp: Any, g: Any, out: Any) -> Any:
    """As the primitive: g where out > 0, else 0."""
    if not supported(runtime, g, out) or g.shape != out.shape:
        return NotImplemented
    launcher, g, out = Launcher(runtime, g.dtype), runtime.contiguous(g), runtime.contiguous(out)
    gradient = launcher.empty(g.shape)
    launcher.each(_UNIT, "relu_grad", g.size, g, out, gradient, np.int64(g.size))
    return gradient


def add_bias(runtime: Runtime, out: Any, bias: Any, *, rectify: bool = False) -> None:
    """out (..., C) += bias (C,) in place, then max(·, 0) if *rectify*; out is C-contiguous."""
    launcher, bias = Launcher(runtime, out.dtype), runtime.contiguous(bias)
    launcher.each(
        _UNIT, "add_bias", out.size, out, bias, np.int64(out.size), np.int32(out.shape[-1]),
        np.int32(rectify),
    )  # fmt: skip


def dropout_mask(
    runtime: Runtime, xp: Any, key: Any, *, stream: tuple[int, int], shape: tuple[int, ...],
    keep: float, dtype: Any,
) -> Any:  # fmt: skip
    """As the primitive: 1 / keep with probability *keep*, else 0, the same to the bit."""
    size = math.prod(shape)
    takes = (
        runtime.takes(key) and key.dtype == np.uint32 and np.dtype(dtype).name in templates.STORAGE
    )
    if not takes or size == 0:
        return NotImplemented
    launcher, key = Launcher(runtime, dtype), runtime.contiguous(key)
    mask = launcher.empty(shape)
    level = min(round(keep * 2**32), 2**32 - 1)
    words = (np.uint32(word) for word in (*stream, level))
    launcher.each(
        _UNIT, "dropout_mask", (size + 1) // 2, key, mask, np.int64(size), *words,
        launcher.scalar(1.0 / keep),
    )  # fmt: skip
    return mask
