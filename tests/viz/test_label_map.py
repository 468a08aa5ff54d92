"""Labels of pixels in colours."""

from __future__ import annotations

import numpy as np
import pytest

from agnostic_dl import viz
from agnostic_dl.errors import UsageError

COLORS = [(0, 0, 0), (255, 128, 3), "#00ff7F"]


def test_every_pixel_has_its_labels_color(backend):
    labels = np.array([[0, 1, 2, 1], [2, 2, 0, 1]])
    picture = viz.label_to_color_map(backend.asarray(labels), COLORS)
    assert isinstance(picture, backend.array_type)
    picture = backend.to_numpy(picture)
    assert picture.shape == (2, 4, 3)
    assert picture.dtype == np.uint8
    table = np.array([[0, 0, 0], [255, 128, 3], [0, 255, 127]])
    assert np.array_equal(picture, table[labels])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64"])
def test_lists_batches_and_dtypes(dtype):
    batch = np.arange(24).reshape(2, 3, 4) % 3
    picture = viz.label_to_color_map(batch.astype(dtype), COLORS)
    assert picture.shape == (2, 3, 4, 3)
    assert np.array_equal(viz.label_to_color_map(batch.tolist(), COLORS), picture)


@pytest.mark.parametrize(
    ("labels", "colors", "words"),
    [
        ([[0, 3]], COLORS, "3 has no colour"),
        ([[-1, 0]], COLORS, "-1 has no colour"),
        ([[0.0, 1.0]], COLORS, "integers"),
        ([[0]], [(0, 0)], "three integers"),
        ([[0]], [(0, 0, 256)], "three integers"),
        ([[0]], ["red"], "#rrggbb"),
        (np.zeros((0, 3), dtype=int), COLORS, "at least one pixel"),
    ],
)
def test_what_cannot_be_colored(labels, colors, words):
    with pytest.raises(UsageError, match=words):
        viz.label_to_color_map(labels, colors)
