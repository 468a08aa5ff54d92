"""Predictions for a whole dataset, and what they say class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agnostic_dl.data.statistics import channel_statistics
from agnostic_dl.train import Trainer

__all__ = ["channel_statistics", "per_class", "probabilities"]

_BATCH = 256


def probabilities(trainer: Trainer, dataset: Any) -> Any:
    """Class probabilities for every picture, (N, classes), as a host array."""
    import numpy as np

    parts = [
        trainer.backend.to_numpy(trainer.predict(dataset[start : start + _BATCH][0]))
        for start in range(0, len(dataset), _BATCH)
    ]
    return np.concatenate(parts)


def per_class(counts: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """For each class of confusion counts: pictures, right ones, accuracy and precision."""
    rows = []
    for k, row in enumerate(counts):
        total, right, claimed = sum(row), row[k], sum(other[k] for other in counts)
        rows.append(
            {
                "images": total,
                "right": right,
                "accuracy": right / total if total else None,
                "precision": right / claimed if claimed else None,
            }
        )
    return rows
