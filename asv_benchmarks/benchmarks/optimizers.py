"""Optimizers alone, on numbers in 60 arrays of one size."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import agnostic_dl as adl

from . import common

OPTIMIZERS = ("sgd", "momentum", "adagrad", "adam", "adamw", "lion", "muon")
SIZES = (6_000, 600_000, 10_200_000)
ARRAYS = 60


def made(name: str) -> Any:
    """The optimizer, or why it is not there."""
    if name not in adl.list_optimizers():
        raise common.Skip(f"{name}: no plugin offers this optimizer")
    return adl.optimizer(name)


def shape(size: int) -> tuple[int, int]:
    """A matrix's: Muon takes no other."""
    return 10, size // ARRAYS // 10


class EagerUpdate:
    """The engine's update, given the gradients."""

    params = (common.BACKENDS, OPTIMIZERS, SIZES)
    param_names = ("backend", "optimizer", "size")
    timeout = 180

    def setup(self, backend: str, optimizer: str, size: int) -> None:
        self.backend = common.open_backend(backend)
        common.only_small(backend, size == SIZES[0])
        self.engine = adl.optim.Engine(made(optimizer))
        found = common.arrays(self.backend, *[shape(size)] * (2 * ARRAYS))
        self.weights, self.gradients = (
            {f"w{i}": array for i, array in enumerate(half)}
            for half in (found[:ARRAYS], found[ARRAYS:])
        )
        self.state = self.engine.init(self.weights)

    def time_update(self, backend: str, optimizer: str, size: int) -> None:
        self.weights, self.state = self.engine.update(self.weights, self.gradients, self.state)
        self.backend.synchronize()


class CapturedUpdate:
    """A captured step of a model that computes next to nothing.

    Its loss reads one number of each array; beside the update, the step fills the gradients.
    """

    params = (common.BACKENDS, OPTIMIZERS, SIZES)
    param_names = ("backend", "optimizer", "size")
    timeout = 180

    def setup(self, backend: str, optimizer: str, size: int) -> None:
        self.backend, self.step, *self.batch = prepared(backend, optimizer, size)

    def time_step(self, backend: str, optimizer: str, size: int) -> None:
        self.step(*self.batch)
        self.backend.synchronize()


@functools.cache
def prepared(label: str, optimizer: str, size: int) -> tuple[Any, ...]:
    """The backend, a step past its recordings, and a batch that it does not look at."""
    backend = common.open_backend(label)
    common.only_small(label, size == SIZES[0])
    weights = first_elements(common.arrays(backend, *[shape(size)] * ARRAYS))
    step = common.step_of(weights, lambda out, _: out, made(optimizer), capture=True)
    nothing = backend.asarray(np.zeros(1, np.float32))
    common.warm(step, nothing, nothing, capture=True)
    return backend, step, nothing, nothing


def first_elements(values: list[Any]) -> Any:
    """A model with these arrays as its parameters, whose output is the sum of their first."""

    class FirstElements(adl.nn.Module):
        def __init__(self) -> None:
            for number, value in enumerate(values):
                setattr(self, f"w{number}", adl.nn.Parameter(value))

        def forward(self, x: Any) -> Any:
            return functools.reduce(
                lambda a, b: a + b,
                (p[0, 0] for p in vars(self).values() if isinstance(p, adl.nn.Parameter)),
            )

    return FirstElements()
