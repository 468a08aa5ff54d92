"""Whole training steps with Adam: forward, backward and update."""

from __future__ import annotations

import functools
from typing import Any

import agnostic_dl as adl

from . import common


@functools.cache  # asv repeats setup for every sample; the step goes on where it was
def prepared(label: str, model: str, size: int, *, capture: bool) -> tuple[Any, ...]:
    """The backend, a step that has been made three times, and its batch."""
    backend = common.open_backend(label)
    common.only_small(label, (model, size) == (common.MODELS[0], common.BATCHES[0]))
    x, y = common.batch(backend, model, size)
    step = common.step_of(
        common.network(model), adl.losses.cross_entropy, adl.optimizer("adam"), capture=capture
    )
    common.warm(step, x, y, capture=capture)
    return backend, step, x, y


class EagerStep:
    params = (common.BACKENDS, common.MODELS, common.BATCHES)
    param_names = ("backend", "model", "batch")
    timeout = 600

    def setup(self, backend: str, model: str, batch: int) -> None:
        self.backend, self.step, *self.batch = prepared(backend, model, batch, capture=False)

    def time_step(self, backend: str, model: str, batch: int) -> None:
        self.step(*self.batch)
        self.backend.synchronize()


class CapturedStep:
    params = (common.BACKENDS, common.MODELS, common.BATCHES)
    param_names = ("backend", "model", "batch")
    timeout = 600

    def setup(self, backend: str, model: str, batch: int) -> None:
        self.backend, self.step, *self.batch = prepared(backend, model, batch, capture=True)

    def time_step(self, backend: str, model: str, batch: int) -> None:
        self.step(*self.batch)
        self.backend.synchronize()
