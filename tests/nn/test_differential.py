"""Random networks and wrong calls: every backend must give the same numbers, the same errors."""

from __future__ import annotations

import random

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.nn import functional as F

ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.SiLU, nn.GELU, nn.LeakyReLU, nn.Identity]


def random_net(seed):
    """A network of random layers that fit each other, and its input's shape."""
    rng = random.Random(seed)
    height, width, channels = rng.randint(4, 9), rng.randint(4, 9), 2 * rng.randint(1, 2)
    shape, layers = (rng.randint(2, 4), height, width, channels), []
    for _ in range(rng.randint(1, 3)):
        groups, kernel = rng.choice([1, 2]), (rng.randint(1, 3), rng.randint(1, 3))
        wider = 2 * rng.randint(1, 3)
        options = rng.choice(
            [{"padding": "same"}, {"padding": (1, 1)}, {"stride": 2, "padding": 1}]
        )
        layers.append(
            nn.Conv2d(channels, wider, kernel, groups=groups, bias=rng.random() < 0.5, **options)
        )
        channels = wider
        if rng.random() < 0.5:
            layers.append(nn.BatchNorm2d(channels))
        layers.append(rng.choice(ACTIVATIONS)())
        if rng.random() < 0.5:
            pool = rng.choice([nn.MaxPool2d, nn.AvgPool2d])
            layers.append(pool(2, stride=rng.choice([1, 2]), padding=1))
    layers += [
        nn.Dropout(0.3),
        nn.GlobalAvgPool2d(),
        nn.LayerNorm(channels),
        nn.Linear(channels, 3),
    ]
    return nn.Sequential(*layers), shape


def loss_and_gradients(backend, seed, dtype):
    """Loss, gradients and buffers after one training pass on *backend*."""
    model, shape = random_net(seed)
    model.astype(dtype).init(seed)
    rng = np.random.default_rng(seed)
    x = backend.asarray(rng.standard_normal(shape).astype(dtype))
    y = backend.asarray(rng.integers(0, 3, shape[0]))
    with nn.random_stream(seed, 1):
        loss = adl.losses.cross_entropy(model(x), y)
    loss.backward()
    found = {"loss": loss, **{n: p.grad for n, p in model.parameters().items()}, **model.buffers()}
    return {n: backend.to_numpy(t.data) for n, t in found.items()}


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("seed", range(30))
def test_random_networks_agree(each_backend, seed, dtype, bound):
    first, *others = each_backend(lambda backend: loss_and_gradients(backend, seed, dtype))
    scale = max(1.0, *(float(np.max(np.abs(a))) for a in first.values()))
    for other in others:
        for name, values in first.items():
            assert values.dtype == other[name].dtype == dtype
            assert np.max(np.abs(values - other[name])) <= bound * scale, name


def ones(backend, *shape, dtype="float32"):
    return backend.asarray(np.ones(shape, dtype))


WRONG = {
    "rank": lambda b: F.conv2d(ones(b, 4, 4, 1), ones(b, 3, 3, 1, 1)),
    "channels": lambda b: F.conv2d(ones(b, 1, 4, 4, 2), ones(b, 3, 3, 1, 1)),
    "groups": lambda b: F.conv2d(ones(b, 1, 4, 4, 2), ones(b, 3, 3, 1, 3), groups=2),
    "too small": lambda b: F.conv2d(ones(b, 1, 2, 2, 1), ones(b, 3, 3, 1, 1)),
    "padding": lambda b: F.conv2d(ones(b, 1, 4, 4, 1), ones(b, 3, 3, 1, 1), padding="full"),
    "stride": lambda b: F.conv2d(ones(b, 1, 4, 4, 1), ones(b, 3, 3, 1, 1), stride=0),
    "pool rank": lambda b: F.max_pool2d(ones(b, 4, 4), 2),
    "pool window": lambda b: F.avg_pool2d(ones(b, 1, 2, 2, 1), 3),
    "pool padding": lambda b: F.max_pool2d(ones(b, 1, 4, 4, 1), 2, padding=2),
    "linear": lambda b: F.linear(ones(b, 2, 3), ones(b, 4, 5)),
    "labels": lambda b: adl.losses.cross_entropy(ones(b, 2, 3), ones(b, 2)),
    "label count": lambda b: adl.losses.cross_entropy(ones(b, 2, 3), ones(b, 3, dtype="int64")),
    "targets": lambda b: adl.losses.mse(ones(b, 2, 3), ones(b, 3, 2)),
    "integer gradient": lambda b: adl.Tensor(ones(b, 2, dtype="int64"), requires_grad=True),
    "no scalar": lambda b: adl.Tensor(ones(b, 2), requires_grad=True).backward(),
    "no graph": lambda b: adl.Tensor(ones(b)).backward(),
    "state": lambda b: nn.Linear(1, 1).load_state_dict(
        {"weight": ones(b, 2, 1), "bias": ones(b, 1)}
    ),
    "value": lambda b: setattr(nn.Linear(1, 1).weight, "data", ones(b, 2)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_is_the_same_error_everywhere(each_backend, name):
    def error_of(backend):
        with pytest.raises(adl.errors.AgnosticDLError) as caught:
            WRONG[name](backend)
        return type(caught.value), str(caught.value).replace("array_api_strict.", "")

    first, *others = each_backend(error_of)
    assert all(other == first for other in others)
