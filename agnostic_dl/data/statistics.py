"""What a dataset's pictures are on average: for a model's first, standardising layer."""

from __future__ import annotations

from typing import Any

import numpy as np


def channel_statistics(dataset: Any) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over all pictures (1 where all are equal)."""
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
