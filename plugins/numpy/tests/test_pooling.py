from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
border = st.tuples(st.integers(0, 2), st.integers(0, 2))
geometries = given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), kernel=pair, stride=pair,
    padding=st.tuples(border, border), channels=st.integers(1, 3),
    dtype=st.sampled_from(["float32", "float64"]),
)  # fmt: skip
relaxed = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def possible(size: Any, kernel: Any, padding: Any) -> bool:
    fits = all(size[a] + sum(padding[a]) >= kernel[a] for a in (0, 1))
    return fits and all(max(padding[a]) <= kernel[a] // 2 for a in (0, 1))


@relaxed
@geometries
def test_max_pooling_with_ties(
    equals_reference: Any, size: Any, kernel: Any, stride: Any, padding: Any, channels: int,
    dtype: str,
) -> None:  # fmt: skip
    assume(possible(size, kernel, padding))
    generator, static = (
        np.random.default_rng(0),
        {"kernel": kernel, "stride": stride, "padding": padding},
    )
    x = generator.integers(0, 3, (2, *size, channels)).astype(dtype)
    out = equals_reference("max_pool2d", x, exact=True, **static)
    g = generator.integers(-99, 99, out.shape).astype(dtype)
    equals_reference("max_pool2d_grad", g, x, out, exact=True, **static)


@relaxed
@geometries
def test_average_pooling(
    equals_reference: Any, size: Any, kernel: Any, stride: Any, padding: Any, channels: int,
    dtype: str,
) -> None:  # fmt: skip
    assume(possible(size, kernel, padding))
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, *size, channels)).astype(dtype)
    for count in (True, False):
        static = {
            "kernel": kernel,
            "stride": stride,
            "padding": padding,
            "count_include_pad": count,
        }
        try:
            out = equals_reference("avg_pool2d", x, **static)
        except ZeroDivisionError:  # a window with nothing but border
            continue
        g = generator.standard_normal(out.shape).astype(dtype)
        equals_reference("avg_pool2d_grad", g, size=size, **static)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1), (2, 3)])
def test_pieces_of_a_larger_batch(
    equals_reference: Any, draw: Any, kernel: int, stride: int
) -> None:
    static = {"kernel": (kernel, kernel), "stride": (stride, stride), "padding": ((1, 0), (0, 1))}
    x = np.round(draw(70, 32, 32, 24, dtype="float32"), 1)
    out = equals_reference("max_pool2d", x, exact=True, **static)
    g = np.round(8 * draw(*out.shape, dtype="float32"))
    equals_reference("max_pool2d_grad", g, x, out, exact=True, **static)
    equals_reference("avg_pool2d", x, **static)
    equals_reference("avg_pool2d_grad", g, size=(32, 32), **static)


def test_no_nan_wins_and_infinite_gradients_stay_single(equals_reference: Any) -> None:
    x = np.zeros((1, 4, 4, 1))
    x[0, 1, 1, 0], x[0, 3, 3, 0] = np.nan, -np.inf
    static = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    from agnostic_dl_numpy.pooling import max_pool2d, max_pool2d_grad

    out = max_pool2d(None, x, **static)
    dx = max_pool2d_grad(None, np.full(out.shape, np.inf), x, out, **static)
    wanted = np.zeros((4, 4))
    wanted[[0, 2, 2], [2, 0, 2]] = np.inf
    np.testing.assert_array_equal(dx[0, :, :, 0], wanted)


def test_zeros_of_either_sign_tie(equals_reference: Any) -> None:
    x = np.array([-0.0, 0.0, 0.0, -0.0]).reshape(1, 2, 2, 1)
    static = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    out = equals_reference("max_pool2d", x, exact=True, **static)
    equals_reference("max_pool2d_grad", np.ones((1, 1, 1, 1)), x, out, exact=True, **static)
