from __future__ import annotations

from typing import Any

import numpy as np
import pytest

LARGE = (9, 40, 30, 8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [LARGE, (70_001,), (33, 3001)])
def test_large_arrays(equals_reference: Any, draw: Any, shape: Any, dtype: str) -> None:
    x, y = draw(*shape, dtype=dtype), draw(*shape, dtype=dtype)
    out = equals_reference("relu", x, exact=True)
    equals_reference("relu_grad", y, out, exact=True)
    equals_reference("add", x, y, exact=True)
    equals_reference("multiply", x, y, exact=True)


@pytest.mark.parametrize("channels", [1, 3, 8, 64, 5000])
def test_adding_a_bias(equals_reference: Any, draw: Any, channels: int) -> None:
    x, bias = draw(70_001 // channels + 20, channels), draw(channels)
    equals_reference("add", x, bias, exact=True)


def test_relu_grad_clears_what_is_not_finite(equals_reference: Any, draw: Any) -> None:
    g, out = draw(*LARGE), np.maximum(draw(*LARGE), 0)
    g[0, 0, 0], out[0, 0, 0] = np.nan, 0.0
    g[0, 0, 1], out[0, 0, 1] = np.inf, -0.0
    g[0, 0, 2], out[0, 0, 2] = 1.0, np.nan
    equals_reference("relu_grad", g, out, exact=True)


def test_what_is_left_to_numpy(draw: Any) -> None:
    from agnostic_dl_numpy.elementwise import add, multiply, relu

    small, large = draw(3, 4), draw(*LARGE)
    assert relu(None, small) is NotImplemented
    assert add(None, small, small) is NotImplemented
    assert add(None, large, 1.0) is NotImplemented
    assert add(None, 1.0, large) is NotImplemented
    assert add(None, large, large.astype("float32")) is NotImplemented
    assert add(None, large, draw(30, 8)) is NotImplemented
    assert multiply(None, large, draw(8)) is NotImplemented


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "k", "n"), [(128, 200, 100), (1000, 3, 800), (7, 300, 1024)])
def test_products(equals_reference: Any, draw: Any, m: int, k: int, n: int, dtype: str) -> None:
    x, y, bias = draw(m, k, dtype=dtype), draw(k, n, dtype=dtype), draw(n, dtype=dtype)
    equals_reference("matmul", x, y)
    equals_reference("matmul", np.asfortranarray(x)[::-1], np.asfortranarray(y)[:, ::-1])
    equals_reference("linear", x, y, bias)


@pytest.mark.parametrize("shape", [(5,), (2, 5), (3, 4, 5)])
def test_small_linear(equals_reference: Any, draw: Any, shape: Any) -> None:
    equals_reference("linear", draw(*shape), draw(5, 2), draw(2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy(equals_reference: Any, draw: Any, dtype: str) -> None:
    logits, g = 30 * draw(9, 5, dtype=dtype), draw(9, dtype=dtype)
    for labels in (np.arange(9) % 5, np.arange(9, dtype=np.uint8), np.arange(9) - 2):
        equals_reference("softmax_cross_entropy", logits, labels)
        equals_reference("softmax_cross_entropy_grad", g, logits, labels)
