"""Initialisers: their ranges, and the variance that they are to keep."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agnostic_dl import nn, random
from agnostic_dl.nn import functional as F

SHAPE = (3, 3, 64, 96)  # fan-in 576, fan-out 864
BOUNDS = {
    nn.init.he_uniform: math.sqrt(6 / 576),
    nn.init.lecun_uniform: math.sqrt(3 / 576),
    nn.init.glorot_uniform: math.sqrt(6 / (576 + 864)),
    nn.init.uniform(-0.25, 0.25): 0.25,
}


@pytest.mark.parametrize(("initializer", "bound"), BOUNDS.items())
def test_uniforms_fill_their_range(initializer, bound):
    drawn = initializer(np, random.key(0), SHAPE, np.float32, None)
    assert drawn.dtype == np.float32
    assert drawn.shape == SHAPE
    assert np.max(np.abs(drawn)) <= bound * (1 + 1e-6)
    assert np.max(np.abs(drawn)) > 0.999 * bound
    assert drawn.var() == pytest.approx(bound**2 / 3, rel=0.02)


def test_zeros_and_ones(xp):
    for initializer, value in ((nn.init.zeros, 0.0), (nn.init.ones, 1.0)):
        drawn = initializer(xp, random.key(0), (2, 3), xp.float64, None)
        assert drawn.dtype == xp.float64
        assert bool(xp.all(drawn == value))


@pytest.mark.parametrize(
    ("initializer", "layer"),
    [(nn.init.he_uniform, F.relu), (nn.init.glorot_uniform, lambda x: x)],
    ids=["He through ReLUs", "Glorot through linear layers"],
)
def test_the_scale_is_kept_through_many_layers(initializer, layer):
    x = np.random.default_rng(0).standard_normal((64, 256))
    for depth in range(12):
        key = random.fold(random.key(0), depth)
        x = layer(x @ initializer(np, key, (256, 256), np.float64, None))
    assert 0.3 < np.mean(np.square(x)) < 3.0


def test_weights_of_layers_start_by_glorots_rule():
    layer = nn.Linear(30, 60).init(0)
    bound = math.sqrt(6 / 90)
    assert 0.98 * bound < np.max(np.abs(layer.weight.data)) <= bound * (1 + 1e-6)


def test_biases_start_at_0_and_norms_as_the_identity():
    conv, norm = nn.Conv2d(2, 3, 3).init(1), nn.BatchNorm2d(3).init(1)
    assert np.all(conv.bias.data == 0)
    assert [float(a.data[0]) for a in norm._stateful().values()] == [1.0, 0.0, 0.0, 1.0]


def test_a_parameter_may_bring_its_own_values():
    parameter = nn.Parameter(np.arange(3.0))
    assert parameter.initialized
    assert parameter.requires_grad
    assert parameter.shape == (3,)
