"""Softmax cross-entropy and its gradient, a few threads per row."""

from __future__ import annotations

from typing import Any

import numpy as np

from agnostic_dl_cupy import templates
from agnostic_dl_cupy.runtime import Launcher, Runtime, supported

_UNIT = "classification"
_THREADS = 128


def softmax_cross_entropy(runtime: Runtime, xp: Any, logits: Any, labels: Any) -> Any:
    """As the primitive: logits (N, K), integer labels (N,) → (N,)."""
    if not _takes(runtime, logits, labels):
        return NotImplemented
    out = runtime.empty(labels.shape, logits.dtype)
    _launch(runtime, "softmax_cross_entropy", (logits, labels, out), logits, labels)
    return out


def softmax_cross_entropy_grad(runtime: Runtime, xp: Any, g: Any, logits: Any, labels: Any) -> Any:
    """As the primitive: g (N,) → (softmax(logits) - one_hot(labels)) · g."""
    if not _takes(runtime, logits, labels) or not supported(runtime, logits, g):
        return NotImplemented
    if g.shape != labels.shape:
        return NotImplemented
    out = runtime.empty(logits.shape, logits.dtype)
    _launch(runtime, "softmax_cross_entropy_grad", (g, logits, labels, out), logits, labels)
    return out


def _takes(runtime: Runtime, logits: Any, labels: Any) -> bool:
    return (
        supported(runtime, logits)
        and logits.ndim == 2
        and runtime.takes(labels)
        and labels.shape == logits.shape[:1]
        and labels.dtype.name in templates.LABELS
    )


def _launch(runtime: Runtime, kernel: str, arrays: Any, logits: Any, labels: Any) -> None:
    rows, classes = logits.shape
    threads = min(_THREADS, runtime.threads)
    lanes = min(threads, 1 << max((classes - 1).bit_length() - 2, 0))
    blocks = min(-(-rows // (threads // lanes)), runtime.enough_blocks)
    Launcher(runtime, logits.dtype).grid(
        _UNIT, kernel, (blocks,), threads, *(runtime.contiguous(a) for a in arrays),
        np.int64(rows), np.int32(classes), np.int32(lanes), labels=labels.dtype.name,
    )  # fmt: skip
