"""Predictions for a whole dataset, and what they say class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agnostic_dl.train import Trainer

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


def channel_statistics(dataset: Any) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over all pictures (1 where all are equal)."""
    import numpy as np

    channels = dataset.image_shape[2]
    total, squares, pixels = np.zeros(channels), np.zeros(channels), 0
    for start in range(0, len(dataset), 1024):
        flat = dataset[start : start + 1024][0].reshape(-1, channels)
        total += flat.sum(axis=0, dtype=np.float64)
        squares += np.square(flat).sum(axis=0, dtype=np.float64)
        pixels += len(flat)
    mean = total / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 0.0))
    return mean.tolist(), np.where(std > 1e-6, std, 1.0).tolist()
