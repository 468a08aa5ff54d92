"""Losses: functions (outputs, targets) → a 0-d loss, the mean over the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agnostic_dl.errors import ShapeError, UnknownNameError
from agnostic_dl.nn.functional import check_labels
from agnostic_dl.primitives import PRIMITIVES

Loss = Callable[[Any, Any], Any]


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Mean of -log softmax(logits)[label]: logits (N, K), integer labels (N,)."""
    check_labels(logits, labels, "cross_entropy")
    return PRIMITIVES["mean"](PRIMITIVES["softmax_cross_entropy"](logits, labels))


def mse(outputs: Any, targets: Any) -> Any:
    """Mean squared difference; both of one shape."""
    _same_shape(outputs, targets, "mse")
    return PRIMITIVES["mean"](PRIMITIVES["square"](PRIMITIVES["subtract"](outputs, targets)))


def mae(outputs: Any, targets: Any) -> Any:
    """Mean absolute difference; both of one shape."""
    _same_shape(outputs, targets, "mae")
    return PRIMITIVES["mean"](PRIMITIVES["abs"](PRIMITIVES["subtract"](outputs, targets)))


def binary_cross_entropy(logits: Any, targets: Any) -> Any:
    """Mean of -t log σ(x) - (1 - t) log(1 - σ(x)), from logits x, without overflow."""
    _same_shape(logits, targets, "binary_cross_entropy")
    p = PRIMITIVES
    positive = p["relu"](logits)
    tail = p["log1p"](p["exp"](p["negative"](p["abs"](logits))))
    return p["mean"](p["add"](p["subtract"](positive, p["multiply"](logits, targets)), tail))


def _same_shape(outputs: Any, targets: Any, who: str) -> None:
    if tuple(outputs.shape) != tuple(targets.shape):
        raise ShapeError(
            f"{who}: expected outputs and targets of one shape, got {tuple(outputs.shape)} and "
            f"{tuple(targets.shape)}"
        )


_BY_NAME: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "mse": mse,
    "mae": mae,
    "binary_cross_entropy": binary_cross_entropy,
}


def get(loss: str | Loss) -> Loss:
    """A loss by name; a function is taken as it is."""
    if callable(loss):
        return loss
    if loss not in _BY_NAME:
        raise UnknownNameError(f"unknown loss {loss!r}. Known: {', '.join(_BY_NAME)}.")
    return _BY_NAME[loss]
