"""CUDA's part in a plan, and whole steps on the rehearsal of the backend."""

from __future__ import annotations

import gc
import sys
import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from pretended_cuda import Noting, Stream

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import CaptureWarning
from agnostic_dl.extend import Instruction, Program, Value
from agnostic_dl_cupy.graph import CudaDevice, GraphPlan
from agnostic_dl_cupy.graph.passes import guarded
from agnostic_dl_cupy.rehearsal import host
from agnostic_dl_cupy.rehearsal.backend import RehearsalBackend
from agnostic_dl_cupy.rehearsal.device import FakeDevice


@pytest.mark.parametrize("broken", [False, True])
def test_cudas_capture_ends_where_the_work_fails_and_tells_the_first_cause(broken):
    device = object.__new__(CudaDevice)
    device.stream, device._blocks = Stream(broken), SimpleNamespace(captured=nullcontext)
    with pytest.raises(NotImplementedError, match="cuBLAS"):
        device.capture(lambda: refuse("cuBLAS"))
    assert device.stream.log == ["begin", "end"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_plans_work_waits_for_what_was_queued_and_what_follows_waits_for_it(fails, monkeypatch):
    cupy = Noting()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    device = CudaDevice(SimpleNamespace(device=nullcontext(), dtypes={"float32": "f4"}, streams=[]))
    value = Value((2,), "float32")
    with pytest.raises(ValueError, match="work") if fails else nullcontext(), device.working():
        cupy.log.append("work")
        assert device.empty(value) == ("the private pool", "own", (2,), "f4")
        if fails:
            raise ValueError("the work failed")
    assert cupy.log == [
        "outside records before", "own waits for before", "work", "own records after",
        "outside waits for after",
    ]  # fmt: skip
    assert device.place(value) == ("the usual pool", "outside", (2,), "f4")


def test_a_plans_work_waits_for_the_stream_that_the_last_results_are_copied_on(monkeypatch):
    """Of another thread, or of the same one that has changed to another stream."""
    cupy = Noting()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    device = CudaDevice(SimpleNamespace(device=nullcontext(), streams=[]))
    with device.working():
        pass
    for _ in range(2):
        cupy.log.clear()
        with cupy.another, device.working():
            cupy.log.append("work")
        assert cupy.log[:2] == ["another records before", "own waits for before"]
        if _ == 0:
            assert cupy.log[2:5] == ["outside records before", "own waits for before", "work"]
        else:
            assert cupy.log[2] == "work"


def test_a_stream_is_used_again_and_memory_is_given_back_once_its_plans_are_gone(monkeypatch):
    """Libraries keep a workspace for each stream: many runs in one process need but one."""
    cupy = Noting()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    backend = SimpleNamespace(device=cupy, streams=[])
    first, second = CudaDevice(backend), CudaDevice(backend)
    cupy.log.clear()
    assert first.stream is not second.stream
    kept = second.stream
    del second
    gc.collect()
    assert cupy.log == ["the device", "pool freed", "left"]  # whichever was the current one
    assert CudaDevice(backend).stream is kept
    assert first.stream is not kept


def refuse(reason):
    raise NotImplementedError(reason)


def test_cudas_capture_is_uploaded_before_it_is_first_replayed():
    device = object.__new__(CudaDevice)
    device.stream, device._blocks = Stream(broken=False), SimpleNamespace(captured=nullcontext)
    graph, found = device.capture(lambda: {"loss": 1})
    assert graph is device.stream
    assert found == {"loss": 1}
    assert device.stream.log == ["begin", "end", "upload"]


def test_bfloat16_in_a_program_is_the_backends_dtype():
    """CuPy's namespace has no name for it."""
    device = object.__new__(CudaDevice)
    device._backend = SimpleNamespace(dtypes={"bfloat16": "the dtype"}, xp=object())
    assert device._resolved({"dtype": "bfloat16", "copy": True}) == {
        "dtype": "the dtype", "copy": True
    }  # fmt: skip
    assert device._resolved({"axis": 0}) == {"axis": 0}


def rehearsed(capture):
    """Losses of some steps, the backend and its plans' specs."""
    backend, draw = RehearsalBackend(), np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4),
        nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3),
    )  # fmt: skip
    with adl.use_backend(backend):
        step = adl.train_step(
            model.init(0), "cross_entropy", adl.optimizer("adam"), capture=capture
        )
        losses = [
            float(step(draw.normal(size=(5, 6, 6, 2)).astype(np.float32), draw.integers(0, 3, 5)))
            for _ in range(6)
        ]
    assert step.captured is capture
    return losses, backend


@pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))
def test_a_captured_step_asks_for_bias_and_rectifier_in_the_plan_of_the_convolution():
    eager, before = rehearsed(capture=False)
    captured, backend = rehearsed(capture=True)
    # The bias of batch norm has its gradient from the kernel's sums, which are in another order.
    np.testing.assert_allclose(captured, eager, rtol=1e-5)
    graphs = [b.kernels["conv2d"].__self__.ways[0] for b in (before, backend)]
    plain, fused = (
        {(s.bias, s.relu) for s, *_ in g.plans if s.operation == "forward"} for g in graphs
    )
    assert plain == {(False, False)}
    # The first convolution has bias and rectifier, the second a bias before its batch norm; the
    # one step before the program, which is eager, has neither.
    assert fused == {(False, False), (True, True), (True, False)}
    launched = [name for name, *_ in backend.runtime.calls]
    assert "batch_norm_grad_finish" in launched


def test_a_program_without_a_guard_is_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 3)).init(0)
    step = adl.train_step(model, "cross_entropy", adl.optimizer("sgd"))
    program = adl.program(step, np.zeros((2, 6, 6, 2), np.float32), np.zeros(2, np.int64))
    assert guarded(program) is program


@pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))
def test_how_many_launches_a_captured_step_of_lenet_is(monkeypatch):
    """What the launch-bound step is made of; docs/cupy.md has the sum."""
    backend, real = RehearsalBackend(), FakeDevice.capture
    counted = {}

    def capture(device, function):
        noted = backend.runtime.calls, backend.cublas.calls, backend.cudnn.calls, device.log
        before = [len(log) for log in noted]
        found = real(device, function)
        own, products, plans, log = (
            [c if isinstance(c, str) else c[0] for c in log[start:]]
            for log, start in zip(noted, before, strict=True)
        )
        counted.update(
            own=len(own), products=products.count("gemm"), chains=log.count("launch"),
            plans=sum(c.startswith("execute") for c in plans), others=log.count("mean"),
        )  # fmt: skip
        return found

    monkeypatch.setattr(FakeDevice, "capture", capture)
    with adl.use_backend(backend):
        model = adl.models.create("lenet", input_shape=(28, 28, 1), classes=10).init(0)
        step = adl.train_step(model, "cross_entropy", adl.optimizer("adam"))
        for _ in range(3):
            step(np.zeros((4, 28, 28, 1), np.float32), np.zeros(4, np.int64))
    assert counted == {"own": 25, "products": 6, "chains": 2, "plans": 5, "others": 1}


@pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))
def test_a_step_that_is_checked_is_captured_too():
    """Its guard is a product of the gradients, which CuPy would refuse to compute in a capture."""
    with adl.use_backend(RehearsalBackend()), warnings.catch_warnings():
        warnings.simplefilter("error", CaptureWarning)
        model = adl.models.create("lenet", input_shape=(8, 8, 1), classes=10).init(0)
        step = adl.train_step(model, "cross_entropy", adl.optimizer("adam"), check=True)
        for _ in range(4):
            step(np.ones((2, 8, 8, 1), np.float32), np.zeros(2, np.int64))
    assert step.captured


@pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))
def test_what_cupy_leaves_to_cublas_is_not_captured_and_the_warning_names_it():
    """A product whose batches are broadcast: our kernel declines it."""
    backend = RehearsalBackend()
    sizes = ((2, 3, 4), (1, 4, 5), (2, 3, 5))
    program = Program(
        {n: Value(shape, "float32") for n, shape in enumerate(sizes)},
        (Instruction("matmul", (0, 1), (2,)),), {"x": 0, "y": 1}, {"out": 2}, {},
    )  # fmt: skip
    plan = GraphPlan(program, FakeDevice(backend.xp, kernels=backend.kernels))
    draw = np.random.default_rng(0)
    x, y = (draw.standard_normal(shape, dtype=np.float32) for shape in sizes[:2])
    for _ in range(2):
        plan.run({"x": x, "y": y})
    with pytest.warns(CaptureWarning, match="matmul: calling cuBLAS"):
        found = plan.run({"x": x, "y": y})["out"]
    np.testing.assert_allclose(found, x @ y, rtol=1e-6)
