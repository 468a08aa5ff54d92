"""Where a plan's memory goes when the plan is gone."""

from __future__ import annotations

import gc
import sys
import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import array_api_compat.numpy as xp
import numpy as np
import pytest
from pretended_cuda import Noting, Stream

from agnostic_dl.extend import Instruction, Program, Value
from agnostic_dl_cupy import kernels
from agnostic_dl_cupy.blas import WORKSPACE_BYTES, Blas
from agnostic_dl_cupy.cudnn_graphs import Graphs
from agnostic_dl_cupy.graph import CudaDevice, GraphPlan
from agnostic_dl_cupy.graph.plan import WARM_UP
from agnostic_dl_cupy.rehearsal import host
from agnostic_dl_cupy.rehearsal.cublas import FakeCublas
from agnostic_dl_cupy.rehearsal.cudnn import FakeCudnn, Plan
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
    gone = []
    device = Forgetful(xp)
    first = plan_of_one_operation(device)
    second = plan_of_one_operation(None, like=first)
    ends = weakref.finalize(device, lambda: gone.append([array() is None for array in found]))
    ends.atexit = False
    first.itself = first  # steps and their plans die by the collector: they know each other
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


@pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))
def test_the_libraries_workspaces_are_of_no_plans_memory():
    """They are kept, and a pool that one of them lies in could not be given back whole."""
    runtime = host.HostRuntime()
    graphs = Graphs(runtime, FakeCudnn(plans=[Plan(workspace=700)]))
    run = kernels.bind(runtime, Blas(runtime, FakeCublas()), graphs)
    x, w = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 2), np.float32)
    window = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    for _ in range(2):
        run["conv2d"](xp, x, w, **window)
        run["matmul"](xp, w[0, 0], w[0, 0])
    assert runtime.workspaces == [700, WORKSPACE_BYTES]


def test_memory_that_a_graph_writes_to_stays_when_a_pool_gives_back_what_is_free(monkeypatch):
    """As a pool does where it finds no memory for a larger batch."""
    monkeypatch.setitem(sys.modules, "cupy", Noting())
    device = CudaDevice(SimpleNamespace(device=nullcontext(), streams=[]))
    device.stream, found = Stream(broken=False), []

    allocate = device.pool.allocator
    passing = weakref.ref(allocate(512))  # let go of at once
    assert passing() is None
    before = allocate(256)
    device.capture(lambda: found.append(weakref.ref(allocate(512))))
    found.append(weakref.ref(before))
    del before
    assert [block().size for block in found] == [512, 256]
    passing = weakref.ref(allocate(512))
    assert passing() is None
    del device
    gc.collect()
    assert [block() for block in found] == [None, None]
