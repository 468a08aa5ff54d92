"""Optimizer slots that hand their old values on, in plans on the pretended device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.extend import Optimizer
from agnostic_dl.testing.programs import update_program
from agnostic_dl_cupy.graph import GraphPlan
from agnostic_dl_cupy.rehearsal.device import FakeDevice


@dataclass(frozen=True)
class HandsOn(Optimizer):
    """From last to b to a."""

    learning_rate: float = 0.1

    def init(self, xp, param):
        return {"last": xp.zeros_like(param), "a": xp.ones_like(param), "b": xp.zeros_like(param)}

    def update(self, xp, param, grad, state, *, learning_rate):
        new = param - learning_rate * (grad + 0.5 * state["last"] + 0.1 * state["a"])
        return new, {"last": 2.0 * grad + state["b"], "a": state["b"], "b": state["last"]}


class Swaps(HandsOn):
    """The two change places."""

    def update(self, xp, param, grad, state, *, learning_rate):
        new = param - learning_rate * (grad + 0.1 * state["a"])
        return new, {"last": 2.0 * grad, "a": state["b"], "b": state["a"]}


@pytest.mark.parametrize("kind", [HandsOn, Swaps])
def test_old_values_are_handed_on_before_they_are_written_over(kind):
    backend = adl.get_backend("numpy")
    program = update_program(kind(), 7)
    plans = GraphPlan(program, FakeDevice(backend.xp)), program.interpreted(backend)
    draw = np.random.default_rng(0)
    start = {name: draw.normal(size=7).astype(np.float32) for name in program.state}
    for plan in plans:
        plan.load({name: array.copy() for name, array in start.items()})
    for _ in range(5):
        grad = draw.normal(size=7).astype(np.float32)
        for plan in plans:
            plan.run({"grad": grad, "scalar.learning_rate": 0.1})
        for name in start:
            np.testing.assert_array_equal(*(plan.read(name) for plan in plans), err_msg=name)
