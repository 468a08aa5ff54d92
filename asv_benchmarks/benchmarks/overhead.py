"""What small operations cost, where Python and dispatch are all there is."""

from __future__ import annotations

import numpy as np

import agnostic_dl as adl

from . import common

OPERATIONS = 1000
STEPS = 50


class Chain:
    """A thousand operations on eight numbers, one after the other, and their gradient."""

    params = common.BACKENDS
    param_names = ("backend",)

    def setup(self, backend: str) -> None:
        self.chain = common.script("eager_overhead").chain
        self.backend = common.open_backend(backend)
        self.xp = adl.namespace(self.backend.name)
        self.start, self.factor = (
            self.backend.asarray(np.asarray(values))
            for values in (np.linspace(0.1, 0.9, 8), np.full(8, 0.9))
        )

    def forward(self, x):
        return self.xp.sum(self.chain(x, adl.Tensor(self.factor), self.xp.tanh, OPERATIONS))

    def time_forward(self, backend: str) -> None:
        with adl.no_grad():
            self.forward(adl.Tensor(self.start))
        self.backend.synchronize()

    def time_forward_and_backward(self, backend: str) -> None:
        self.forward(adl.Tensor(self.start, requires_grad=True)).backward()
        self.backend.synchronize()

    def time_grad(self, backend: str) -> None:
        adl.grad(self.forward)(self.start)
        self.backend.synchronize()


class TinyNetwork:
    """Fifty steps with Adam of 4-16-3 on a batch of 8."""

    params = (common.BACKENDS, ("captured", "eager"))
    param_names = ("backend", "step")

    def setup(self, backend: str, step: str) -> None:
        self.backend = common.open_backend(backend)
        nn, draw = adl.nn, np.random.default_rng(0)
        model = nn.Sequential(fc1=nn.Linear(4, 16), relu=nn.ReLU(), fc2=nn.Linear(16, 3)).init(0)
        capture = step == "captured"
        self.step = common.step_of(
            model, adl.losses.cross_entropy, adl.optimizer("adam"), capture=capture
        )
        (self.x,) = common.arrays(self.backend, (8, 4))
        self.y = self.backend.asarray(draw.integers(0, 3, 8))
        common.warm(self.step, self.x, self.y, capture=capture)

    def time_50_steps(self, backend: str, step: str) -> None:
        for _ in range(STEPS):
            self.step(self.x, self.y)
        self.backend.synchronize()
