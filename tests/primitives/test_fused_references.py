"""References of operations put together are their parts, also where numbers are not finite."""

import array_api_compat.numpy as xp
import numpy as np
import pytest

from agnostic_dl.extend import PRIMITIVES

GEOMETRY = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
WINDOW = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
EPS = {"eps": 1e-3}


def of(name, *arrays, **static):
    return PRIMITIVES[name].forward(xp, *arrays, **static)


def conv2d_bias(x, vector):
    weight = np.ones((2, 2, 3, 3), np.float32)
    together = of("conv2d_bias", x, weight, vector, relu=True, **GEOMETRY)
    return [together], [of("relu", of("conv2d", x, weight, **GEOMETRY) + vector)]


def conv2d_weight_bias_grad(x, vector):
    static = {"kernel": (1, 1), **GEOMETRY}
    together = of("conv2d_weight_bias_grad", x, x, **static)
    return together, [of("conv2d_weight_grad", x, x, **static), np.sum(x, axis=(0, 1, 2))]


def batch_norm_relu(x, vector):
    y, mean, var = of("batch_norm", x, vector, vector, **EPS)
    together = of("batch_norm_relu", x, vector, vector, **EPS)
    return together, [of("relu", y), mean, var, y > 0]


def batch_norm_gradients(x, vector):
    _, mean, var = of("batch_norm", x, vector, vector, **EPS)
    together = of("batch_norm_gradients", x, x, mean, var, vector, **EPS)
    apart = (
        of("batch_norm_input_grad", x, x, mean, var, vector, **EPS),
        of("batch_norm_weight_grad", x, x, mean, var, **EPS), np.sum(x, axis=(0, 1, 2)),
    )  # fmt: skip
    return together, apart


def batch_norm_relu_gradients(x, vector):
    y, mean, var, positive = of("batch_norm_relu", x, vector, vector, **EPS)
    together = of("batch_norm_relu_gradients", x, x, mean, var, vector, positive, **EPS)
    passed = of("relu_grad", x, y)
    return together, of("batch_norm_gradients", passed, x, mean, var, vector, **EPS)


def max_pool2d_winners(x, vector):
    return of("max_pool2d_winners", x, **WINDOW)[:1], [of("max_pool2d", x, **WINDOW)]


@pytest.mark.parametrize("strange", [None, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["image", "vector"])
@pytest.mark.parametrize(
    "both",
    [conv2d_bias, conv2d_weight_bias_grad, batch_norm_relu, batch_norm_gradients,
     batch_norm_relu_gradients, max_pool2d_winners],
)  # fmt: skip
def test_a_fused_reference_is_its_parts(both, where, strange):
    draw = np.random.default_rng(0)
    x, vector = (draw.normal(size=s).astype(np.float32) for s in ((2, 4, 4, 3), (3,)))
    if strange is not None and where == "image":
        x[0, 1, 2, 1] = strange
    elif strange is not None:
        vector[1] = strange
    with np.errstate(all="ignore"):
        together, apart = both(x, vector)
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_array_equal(one, other)
