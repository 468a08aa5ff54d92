"""Where a plan's memory goes when the plan is gone."""

from __future__ import annotations

import gc
import weakref

import numpy as np

import agnostic_dl as adl
from agnostic_dl.extend import Instruction, Program, Value
from agnostic_dl_cupy.graph import GraphPlan
from agnostic_dl_cupy.graph.plan import WARM_UP
from agnostic_dl_cupy.rehearsal.device import FakeDevice


class Forgetful(FakeDevice):
    """It keeps none of the arrays that it has given, nor a graph."""

    def _taken(self, array):
        return array

    def capture(self, function):
        captured = super().capture(function)
        self.graph = []
        return captured


def plan_of_one_operation(device, like=None):
    values = {0: Value((4,), "float32"), 1: Value((4,), "float32")}
    program = Program(values, (Instruction("cumulative_sum", (0,), (1,)),), {"x": 0}, {"y": 1})
    return GraphPlan(program, device, like)


def test_a_plans_arrays_go_before_the_device_whose_memory_they_lie_in():
    """Or the device could not give that memory back: a part of it would be in use."""
    xp, gone = adl.get_backend("numpy").xp, []
    device = Forgetful(xp)
    first = plan_of_one_operation(device)
    second = plan_of_one_operation(None, like=first)
    weakref.finalize(device, lambda: gone.append([array() is None for array in found]))
    for plan in (first, second):
        for _ in range(WARM_UP + 2):
            plan.run({"x": np.ones(4, np.float32)})
    found = [weakref.ref(plan._held.found["y"]) for plan in (first, second)]
    del device, first, plan
    gc.collect()
    assert not gone  # the second one lives there as well
    del second
    gc.collect()
    assert gone == [[True, True]]
