from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agnostic_dl import random
from agnostic_dl_numpy.noise import dropout_mask


@pytest.mark.parametrize("shape", [(1,), (2,), (3, 5), (128, 1000), (70_001,), (4096, 2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masks_are_the_references_to_the_bit(
    equals_reference: Any, shape: tuple[int, ...], dtype: str
) -> None:
    key = np.array([2**32 - 1, 12345], dtype=np.uint32)
    static = {"stream": random.name_words("layer.3"), "shape": shape, "dtype": np.dtype(dtype)}
    for keep in (0.5, 0.7, 1.0):
        equals_reference("dropout_mask", key, exact=True, keep=keep, **static)


def test_other_keys_are_left_to_the_reference() -> None:
    static: Any = {"stream": (1, 2), "shape": (4,), "keep": 0.5, "dtype": np.dtype("float32")}
    assert dropout_mask(None, np.array([1, 2]), **static) is NotImplemented
    key = np.array([1, 2], dtype=np.uint32)
    assert dropout_mask(None, key, **{**static, "dtype": np.dtype("float16")}) is NotImplemented
    assert dropout_mask(None, key, **{**static, "shape": (0, 3)}) is NotImplemented
