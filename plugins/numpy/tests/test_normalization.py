from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(2, 1), (7, 3), (3, 5, 7, 3), (50, 20, 20, 16), (500, 600)])
def test_batch_norm(equals_reference: Any, draw: Any, shape: Any, dtype: str) -> None:
    x, g = draw(*shape, dtype=dtype), draw(*shape, dtype=dtype)
    weight, bias = draw(shape[-1], dtype=dtype), draw(shape[-1], dtype=dtype)
    _, mean, var = equals_reference("batch_norm", x, weight, bias, eps=1e-3)
    equals_reference("batch_norm_input_grad", g, x, mean, var, weight, eps=1e-3)
    equals_reference("batch_norm_weight_grad", g, x, mean, var, eps=1e-3)


def test_statistics_far_from_zero_stay_accurate(draw: Any) -> None:
    from agnostic_dl_numpy.normalization import batch_norm

    x = draw(256, 30, 30, 4, dtype="float32") + np.float32(1000)
    one = np.ones(4, dtype="float32")
    y, mean, var = batch_norm(None, x, one, one, eps=0.0)
    exact = x.astype("float64").reshape(-1, 4)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(var, exact.var(axis=0), rtol=1e-5)
    assert abs(float(y.mean(dtype="float64")) - 1) < 1e-3


@pytest.mark.parametrize("shape", [(100_000, 1), (99_999, 3), (128, 28, 28, 32), (300, 1000)])
def test_sums_over_leading_axes(equals_reference: Any, draw: Any, shape: Any) -> None:
    axes = tuple(range(len(shape) - 1))
    for dtype in ("float32", "float64"):
        x = draw(*shape, dtype=dtype) + 1
        for keepdims in (False, True):
            total = equals_reference("sum", x.astype("float64"), axis=axes, keepdims=keepdims)
    from agnostic_dl_numpy.channels import sum

    np.testing.assert_allclose(sum(None, x.astype("float32"), axis=axes), total.ravel(), rtol=1e-6)
    assert sum(None, x, axis=None) is NotImplemented
    assert sum(None, x, axis=-1) is NotImplemented
