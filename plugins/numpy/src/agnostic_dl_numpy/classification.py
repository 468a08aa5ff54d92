"""Softmax cross-entropy without the primitives' temporaries."""

from __future__ import annotations

from typing import Any

import numpy as np

from agnostic_dl_numpy.checks import takes


def softmax_cross_entropy(xp: Any, logits: Any, labels: Any) -> Any:
    """As the primitive: logits (N, K), integer labels (N,) → (N,)."""
    if not _takes(logits, labels):
        return NotImplemented
    shifted, powers, total = _softmax(logits)
    out = np.log(total[:, 0])
    np.multiply(shifted, _at_label(logits, labels), out=powers)
    return np.subtract(out, np.add.reduce(powers, axis=-1), out=out)


def softmax_cross_entropy_grad(xp: Any, g: Any, logits: Any, labels: Any) -> Any:
    """As the primitive: g (N,) → (softmax(logits) - one_hot(labels)) · g."""
    if not _takes(logits, labels) or not takes(logits, g) or g.shape != labels.shape:
        return NotImplemented
    _, out, total = _softmax(logits)
    np.divide(out, total, out=out)
    np.subtract(out, _at_label(logits, labels), out=out)
    return np.multiply(out, g[:, None], out=out)


def _takes(logits: Any, labels: Any) -> bool:
    return (
        takes(logits)
        and logits.ndim == 2
        and type(labels) is np.ndarray
        and labels.shape == logits.shape[:1]
        and labels.dtype.kind in "iu"
    )


def _softmax(logits: Any) -> tuple[Any, Any, Any]:
    """Logits less their largest, the exponentials of that, and their sums (N, 1)."""
    shifted = np.subtract(logits, np.maximum.reduce(logits, axis=-1, keepdims=True))
    powers = np.exp(shifted)
    return shifted, powers, np.add.reduce(powers, axis=-1, keepdims=True)


def _at_label(logits: Any, labels: Any) -> Any:
    return labels[:, None] == np.arange(logits.shape[1], dtype=labels.dtype)
