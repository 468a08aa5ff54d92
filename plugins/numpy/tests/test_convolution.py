from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.primitives.convolution import window_count

pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
border = st.tuples(st.integers(-2, 4), st.integers(-2, 4))
relaxed = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


def geometry(**changed: Any) -> dict[str, Any]:
    plain = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    return {**plain, **changed}


def check_all(check: Any, x: Any, weight: Any, **static: Any) -> None:
    """conv2d and its two adjoints."""
    out = check("conv2d", x, weight, **static)
    g = np.random.default_rng(1).standard_normal(out.shape).astype(x.dtype)
    check("conv2d_input_grad", g, weight, size=x.shape[1:3], **static)
    check("conv2d_weight_grad", x, g, kernel=weight.shape[:2], **static)


@relaxed
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), kernel=pair, stride=pair, dilation=pair,
    padding=st.tuples(border, border), images=st.integers(1, 3), groups=st.integers(1, 3),
    depth=st.integers(1, 3), width=st.integers(1, 3), dtype=st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_any_geometry(
    equals_reference: Any, size: Any, kernel: Any, stride: Any, dilation: Any, padding: Any,
    images: int, groups: int, depth: int, width: int, dtype: str,
) -> None:  # fmt: skip
    for a in (0, 1):
        assume(size[a] + sum(padding[a]) > 0)
        assume(window_count(size[a], kernel[a], stride[a], padding[a], dilation[a]) > 0)
        # Cropped from both sides, the reference slices beyond the image.
        assume(max(-padding[a][0], 0) + max(-padding[a][1], 0) < size[a])
    generator = np.random.default_rng(0)
    x = generator.standard_normal((images, *size, groups * depth)).astype(dtype)
    weight = generator.standard_normal((*kernel, depth, groups * width)).astype(dtype)
    static = geometry(stride=stride, padding=padding, dilation=dilation, groups=groups)
    check_all(equals_reference, x, weight, **static)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "weight", "static"),
    [
        ((16, 14, 14, 32), (3, 3, 32, 16), geometry(padding=((1, 1), (1, 1)))),
        ((9, 28, 28, 1), (3, 3, 1, 8), geometry(padding=((1, 1), (1, 1)))),
        ((5, 32, 32, 3), (5, 5, 3, 8), geometry(padding=((2, 2), (2, 2)))),
        ((1, 80, 70, 24), (5, 5, 24, 8), geometry(padding=((2, 1), (0, 3)))),
        ((3, 33, 31, 16), (3, 3, 16, 32), geometry(stride=(2, 2), padding=((1, 1), (1, 1)))),
        ((3, 32, 32, 16), (1, 1, 16, 32), geometry(stride=(2, 2))),
        ((4, 16, 16, 32), (1, 1, 32, 32), geometry()),
        ((4, 16, 16, 32), (3, 3, 16, 32), geometry(groups=2, padding=((1, 1), (1, 1)))),
    ],
)
def test_blocks_of_larger_images(
    equals_reference: Any, draw: Any, shape: Any, weight: Any, static: Any, dtype: str
) -> None:
    x, w = draw(*shape, dtype=dtype), draw(*weight, dtype=dtype)
    check_all(equals_reference, x, w, **static)


def test_inputs_in_any_order_of_memory(equals_reference: Any, draw: Any) -> None:
    x = draw(3, 5, 4, 9).transpose(1, 3, 2, 0)[::-1, :, ::-1]
    weight = draw(4, 3, 3, 2).transpose(1, 2, 3, 0)[::-1, :, :1].repeat(3, axis=2)[:, :, ::-1]
    static = geometry(padding=((1, 1), (1, 1)))
    out = equals_reference("conv2d", x, weight, **static)
    g = np.asfortranarray(draw(*out.shape))
    equals_reference("conv2d_input_grad", g, weight, size=x.shape[1:3], **static)
    equals_reference("conv2d_weight_grad", x, g, kernel=(3, 3), **static)


def test_other_dtypes_take_the_reference() -> None:
    x, weight = np.ones((1, 3, 3, 1), dtype=np.int64), np.ones((2, 2, 1, 1), dtype=np.int64)
    out = PRIMITIVES["conv2d"](x, weight, **geometry())
    assert out.dtype == np.int64
    assert np.all(out == 4)
