"""Metrics of classification: functions (outputs, labels) → a 0-d mean over the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agnostic_dl.errors import UnknownNameError
from agnostic_dl.nn.functional import check_labels
from agnostic_dl.primitives import PRIMITIVES, library_of

Metric = Callable[[Any, Any], Any]


def accuracy(outputs: Any, labels: Any) -> Any:
    """Share of examples whose largest output is that of the label; outputs (N, K), labels (N,)."""
    check_labels(outputs, labels, "accuracy")
    xp = library_of("accuracy", (outputs,))[1]
    hits = PRIMITIVES["equal"](
        PRIMITIVES["astype"](PRIMITIVES["argmax"](outputs, axis=-1), dtype=labels.dtype), labels
    )
    return PRIMITIVES["mean"](PRIMITIVES["astype"](hits, dtype=xp.float32))


_BY_NAME: dict[str, Metric] = {"accuracy": accuracy}


def get(metrics: Any) -> dict[str, Metric]:
    """Metrics by name; functions go by their own names."""
    found: dict[str, Metric] = {}
    for metric in (metrics,) if isinstance(metrics, str) or callable(metrics) else metrics:
        if callable(metric):
            found[getattr(metric, "__name__", "metric")] = metric
        elif metric in _BY_NAME:
            found[metric] = _BY_NAME[metric]
        else:
            raise UnknownNameError(f"unknown metric {metric!r}. Known: {', '.join(_BY_NAME)}.")
    return found
