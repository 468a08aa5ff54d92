"""A small problem of classification, and models that learn it in a moment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from agnostic_dl import nn


@pytest.fixture
def problem() -> tuple[np.ndarray, np.ndarray]:
    """50 images (6, 5, 1) of three classes: which third of the picture is bright."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    images = rng.uniform(0, 0.4, (50, 6, 5, 1)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] += 0.6
    return images, labels


@pytest.fixture
def small() -> Callable[[], nn.Module]:
    """A model with everything that has state: convolution, batch norm, dropout."""

    def make() -> nn.Module:
        return nn.Sequential(
            conv=nn.Conv2d(1, 4, 3, padding=1), bn=nn.BatchNorm2d(4), relu=nn.ReLU(),
            pool=nn.MaxPool2d(2), flatten=nn.Flatten(), drop=nn.Dropout(0.25),
            fc=nn.Linear(3 * 2 * 4, 3),
        )  # fmt: skip

    return make
