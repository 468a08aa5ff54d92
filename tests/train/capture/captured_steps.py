"""A small network, batches of several sizes, and a step that runs on them: what tests share."""

import numpy as np

import agnostic_dl as adl
from agnostic_dl import nn

SHAPE = (12, 12, 2)


def network(dropout=0.0):
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(dropout), nn.Linear(144, 3),
    ).init(0)  # fmt: skip


def batches(count, sizes=(6,)):
    draw = np.random.default_rng(0)
    for i in range(count):
        n = sizes[i % len(sizes)]
        yield draw.normal(size=(n, *SHAPE)).astype(np.float32), draw.integers(0, 3, n)


def trained(optimizer, capture, *, count=6, sizes=(6, 4), between=None, check=True, dropout=0.4):
    step = adl.train_step(
        network(dropout), "cross_entropy", optimizer, check=check, capture=capture
    )
    losses = []
    for i, (x, y) in enumerate(batches(count, sizes)):
        losses.append(float(step(x, y)))
        if between is not None:
            between(i, step)
    return step, losses


def same(one, other):
    a, b = one.model.state_dict(), other.model.state_dict()
    slots = one.state["slots"], other.state["slots"]
    return all(np.array_equal(a[n], b[n]) for n in a) and all(
        np.array_equal(kept[s], slots[1][n][s]) for n, kept in slots[0].items() for s in kept
    )
