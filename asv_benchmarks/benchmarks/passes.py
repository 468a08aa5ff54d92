"""The halves of an eager step, each alone, and what a trained network costs to use."""

from __future__ import annotations

from typing import Any

import agnostic_dl as adl

from . import common


class _Passes:
    params = (common.BACKENDS, common.MODELS, common.BATCHES[:2])
    param_names = ("backend", "model", "batch")
    timeout = 180

    def setup(self, backend: str, model: str, batch: int) -> None:
        self.backend = common.open_backend(backend)
        common.only_small(backend, (model, batch) == (common.MODELS[0], common.BATCHES[0]))
        self.model = common.network(model)
        self.x, self.y = common.batch(self.backend, model, batch)

    def loss(self) -> Any:
        return adl.losses.cross_entropy(self.model(adl.Tensor(self.x)), self.y)


class Inference(_Passes):
    def setup(self, backend: str, model: str, batch: int) -> None:
        super().setup(backend, model, batch)
        self.model.eval()

    def time_forward(self, backend: str, model: str, batch: int) -> None:
        with adl.no_grad():
            self.model(self.x)
        self.backend.synchronize()


class Forward(_Passes):
    def time_loss(self, backend: str, model: str, batch: int) -> None:
        self.loss()
        self.backend.synchronize()


class Backward(_Passes):
    number = 1  # a walk back frees its graph: every sample has a forward pass in its setup

    def setup(self, backend: str, model: str, batch: int) -> None:
        super().setup(backend, model, batch)
        self.value = self.loss()
        self.backend.synchronize()

    def time_backward(self, backend: str, model: str, batch: int) -> None:
        self.value.backward()
        self.backend.synchronize()
