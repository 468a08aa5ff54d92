"""The largest resident memory of a process that trains, its interpreter and libraries included."""

from __future__ import annotations

import agnostic_dl as adl

from . import common


class TrainingMemory:
    params = (common.BACKENDS[:2], common.MODELS, common.BATCHES[:2], ("captured", "eager"))
    param_names = ("backend", "model", "batch", "step")
    timeout = 180

    def setup(self, backend: str, model: str, batch: int, step: str) -> None:
        self.backend = common.open_backend(backend)
        self.x, self.y = common.batch(self.backend, model, batch)
        self.step = common.step_of(
            common.network(model), adl.losses.cross_entropy, adl.optimizer("adam"),
            capture=step == "captured",
        )  # fmt: skip

    def peakmem_three_steps(self, backend: str, model: str, batch: int, step: str) -> None:
        common.warm(self.step, self.x, self.y, capture=step == "captured")
        self.backend.synchronize()


class Imported:
    """What the steps are to be compared with: a process that has loaded the backend."""

    params = common.BACKENDS
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        self.backend = common.open_backend(backend)

    def peakmem_backend(self, backend: str) -> None:
        self.backend.synchronize()
