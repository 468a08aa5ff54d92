"""Small networks, batches that overflow in float16, and steps of one weight: what tests share."""

from __future__ import annotations

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.optim import Engine
from agnostic_dl.primitives import PRIMITIVES as P

HALVES = [
    "float16",
    pytest.param("bfloat16", marks=pytest.mark.skipif(
        "bfloat16" not in adl.get_backend("numpy").dtypes, reason="ml_dtypes is not installed")),
]  # fmt: skip

#: Unit roundoff: half the distance from 1 to the next number.
ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


def cnn():
    return nn.Sequential(
        conv=nn.Conv2d(2, 6, 3, padding=1), relu=nn.ReLU(), pool=nn.MaxPool2d(2),
        flatten=nn.Flatten(), fc1=nn.Linear(54, 16), tanh=nn.Tanh(), fc2=nn.Linear(16, 3),
    ).init(0)  # fmt: skip


def mlp():
    return nn.Sequential(
        flatten=nn.Flatten(), fc1=nn.Linear(72, 32), relu=nn.ReLU(), fc2=nn.Linear(32, 3)
    ).init(0)


def everything():
    """Batch norm, dropout, layer norm, average pooling and a residual beside the usual."""
    return nn.Sequential(
        conv=nn.Conv2d(2, 6, 3, padding=1, bias=False), bn=nn.BatchNorm2d(6), relu=nn.ReLU(),
        pool=nn.AvgPool2d(2), flatten=nn.Flatten(), drop=nn.Dropout(0.2), fc1=nn.Linear(54, 16),
        norm=nn.LayerNorm(16), gelu=nn.GELU(), fc2=nn.Linear(16, 3),
    ).init(0)  # fmt: skip


def batches(count, size=32):
    """Images (6, 6, 2) of three classes that differ in their brightest rows."""
    draw = np.random.default_rng(0)
    for _ in range(count):
        y = draw.integers(0, 3, size)
        x = draw.normal(0, 0.5, (size, 6, 6, 2)).astype(np.float32)
        x[np.arange(size)[:, None], 2 * y[:, None] + np.arange(2)] += 1.0
        yield x, y


def same_state(one, other):
    a, b = one.model.state_dict(), other.model.state_dict()
    slots = one.state["slots"], other.state["slots"]
    rest = [{n: v for n, v in step.state.items() if n != "slots"} for step in (one, other)]
    return (
        rest[0] == rest[1]
        and all(np.array_equal(a[n], b[n]) for n in a)
        and all(
            np.array_equal(kept[s], slots[1][n][s]) for n, kept in slots[0].items() for s in kept
        )
    )


OPTIMIZERS = {
    "adam": lambda: adl.optimizer("adam", learning_rate=0.01),
    "clipped": lambda: Engine(adl.optimizer("momentum", learning_rate=0.1), clip_norm=0.5),
    "lamb": lambda: adl.optimizer("lamb"),
    "frozen": lambda: Engine(adl.optimizer("adam"), overrides={"fc1.*": None}),
}


def weighted(outputs, targets):
    """Cross-entropy times a weight that stands beside the labels."""
    labels = P["astype"](P["getitem"](targets, key=(slice(None), 0)), dtype=np.int64)
    factor = P["getitem"](targets, key=(slice(None), 1))
    return P["mean"](P["multiply"](P["softmax_cross_entropy"](outputs, labels), factor))


def linear_in_its_target(outputs, targets):
    """A loss whose gradient is the targets'; that of 1e30 overflows in float16 at any scale."""
    return P["mean"](P["multiply"](outputs, targets))


def tiny(precision="float16", optimizer=None, **options):
    model = nn.Sequential(nn.Linear(1, 1, bias=False)).init(0)
    model[0].weight.data = np.ones((1, 1), np.float32)
    optimizer = optimizer or adl.optimizer("momentum", learning_rate=2.0**-6)
    return adl.train_step(model, linear_in_its_target, optimizer, precision=precision, **options)


ONE = np.ones((1, 1), np.float32)

GOOD, BAD = (ONE, ONE / 8), (ONE, np.float32(1e30) * ONE)


def settled(precision="float16"):
    trainer = adl.Trainer(everything(), "adam", precision=precision, seed=3)
    x, y = (np.concatenate(parts) for parts in zip(*batches(4, 16), strict=True))
    return trainer, (x, y)
