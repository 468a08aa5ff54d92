"""The choice among cuDNN's plans by the clock: a clock of the stand-in's, which has several."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest

import agnostic_dl as adl
import agnostic_dl_cupy
from agnostic_dl import nn
from agnostic_dl.errors import UsageError
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl_cupy import blas, kernels, precision, tuning
from agnostic_dl_cupy.cudnn_graphs import Graphs
from agnostic_dl_cupy.rehearsal import host
from agnostic_dl_cupy.rehearsal.backend import RehearsalBackend
from agnostic_dl_cupy.rehearsal.cublas import FakeCublas
from agnostic_dl_cupy.rehearsal.cudnn import FakeCudnn, Plan
from agnostic_dl_cupy.rehearsal.device import FakeDevice
from agnostic_dl_cupy.runtime import CupyRuntime

pytestmark = pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))

STATIC: dict[str, Any] = {
    "stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1
}  # fmt: skip
#: Runs of a plan that is timed in full, and of one that is not worth it.
FULL, SHORT = 2 + tuning.RUNS * tuning.ROUNDS, 2


@pytest.fixture(autouse=True)
def switches_off(monkeypatch):
    for name in (precision.VARIABLE, tuning.VARIABLE):
        monkeypatch.delenv(name, raising=False)


class Bench:
    def __init__(self, *plans: Plan) -> None:
        self.runtime, self.cudnn = host.HostRuntime(), FakeCudnn(plans=plans)
        self.runtime.clock = lambda: self.cudnn.now
        self.graphs = Graphs(self.runtime, self.cudnn)
        products = blas.Blas(self.runtime, FakeCublas())
        self.kernels = kernels.bind(self.runtime, products, self.graphs)

    def run(self, name: str = "conv2d", dtype: str = "float32", **static: Any) -> list[int | None]:
        """One call, compared with the reference; which plans it has run."""
        draw, before = np.random.default_rng(0), len(self.cudnn.ran)
        x, w, g = (2, 5, 5, 3), (3, 3, 3, 4), (2, 5, 5, 4)
        shapes = {
            "conv2d": (x, w), "conv2d_bias": (x, w, (4,)),
            "conv2d_input_grad": (g, w), "conv2d_weight_grad": (x, g),
        }[name]  # fmt: skip
        arrays = [draw.standard_normal(shape).astype(dtype) for shape in shapes]
        got = self.kernels[name](xp, *arrays, **STATIC, **static)
        wanted = PRIMITIVES[name].forward(
            xp, *(a.astype("float32") for a in arrays), **STATIC, **static
        )
        np.testing.assert_allclose(got, wanted, rtol=0, atol=0.02 if dtype == "float16" else 1e-4)
        assert self.runtime.held() == 0, "memory of a trial is not given back"
        return self.cudnn.ran[before:]


@pytest.mark.parametrize("value", [None, "", "0"])
def test_it_is_off_unless_it_is_asked_for(monkeypatch, value):
    if value is not None:
        monkeypatch.setenv(tuning.VARIABLE, value)
    bench = Bench(Plan(3.0), Plan(1.0))
    assert [bench.run(), bench.run()] == [[0], [0]]
    assert [c for c in bench.cudnn.calls if c.startswith("plan ")] == ["plan 0"]


@pytest.mark.parametrize(
    ("name", "static"),
    [("conv2d", {}), ("conv2d_bias", {"relu": True}), ("conv2d_input_grad", {"size": (5, 5)}),
     ("conv2d_weight_grad", {"kernel": (3, 3)})],
)  # fmt: skip
def test_the_fastest_plan_is_found_once_and_kept(monkeypatch, name, static):
    monkeypatch.setenv(tuning.VARIABLE, "1")
    bench = Bench(Plan(3.0), Plan(1.0, workspace=5000), Plan(2.0), Plan(1.5))
    ran = bench.run(name, **static)
    assert ran == [0] * FULL + [1] * FULL + [2] * FULL + [3] * FULL + [1]
    assert [bench.run(name, **static), bench.run(name, **static)] == [[1], [1]]
    assert bench.cudnn.calls.count("build") == 1


def test_what_is_far_slower_than_the_best_is_not_timed_in_full():
    bench = Bench(Plan(1.0), Plan(100.0), Plan(0.5))
    with agnostic_dl_cupy.autotune():
        assert bench.run() == [0] * FULL + [1] * SHORT + [2] * FULL + [2]


@pytest.mark.parametrize("fails", ["build", "run"])
def test_plans_that_fail_are_left_out(fails):
    bench = Bench(Plan(3.0), Plan(0.1, fails=fails), Plan(2.0), Plan(0.2, fails=fails))
    with agnostic_dl_cupy.autotune():
        assert bench.run() == [0] * FULL + [2] * FULL + [2]


def test_where_no_trial_succeeds_the_heuristics_choice_stands(monkeypatch):
    def none_left(size: int) -> Any:
        raise MemoryError(f"{size} bytes")

    bench = Bench(Plan(0.1, fails="build"), Plan(3.0), Plan(1.0))
    monkeypatch.setattr(bench.runtime, "scratch", none_left)
    with agnostic_dl_cupy.autotune():
        assert [bench.run(), bench.run()] == [[1], [1]]


def test_nothing_is_tried_while_a_capture_is_under_way():
    bench = Bench(Plan(3.0), Plan(1.0))
    bench.runtime.is_capturing = True
    with agnostic_dl_cupy.autotune():
        assert [bench.run(), bench.run()] == [[0], [0]]
        bench.runtime.is_capturing = False
        assert len(bench.run()) == 2 * FULL + 1
        bench.runtime.is_capturing = True
        assert bench.run() == [1]


def test_plans_of_both_settings_are_kept_side_by_side(monkeypatch):
    monkeypatch.setenv(tuning.VARIABLE, "1")
    bench = Bench(Plan(3.0), Plan(1.0))
    with agnostic_dl_cupy.autotune(False):
        assert not agnostic_dl_cupy.autotunes()
        assert bench.run() == [0]
    assert bench.run()[-1] == 1
    with agnostic_dl_cupy.autotune(False):
        assert bench.run() == [0]
    assert bench.run() == [1]
    assert bench.cudnn.calls.count("build") == 2


def test_a_value_that_is_neither_0_nor_1_is_refused(monkeypatch):
    monkeypatch.setenv(tuning.VARIABLE, "yes")
    with pytest.raises(UsageError, match="AGNOSTIC_DL_CUPY_AUTOTUNE expects 0 or 1, got 'yes'"):
        Bench(Plan()).run()


def test_the_clock_does_not_choose_tf32_nor_sums_in_a_short_type():
    bench = Bench(
        Plan(3.0), Plan(1.0, note="TENSOR_CORE"), Plan(0.5, note="REDUCED_PRECISION_REDUCTION")
    )
    with agnostic_dl_cupy.autotune():
        assert set(bench.run()) == {0}
        with agnostic_dl_cupy.tf32():
            assert bench.run()[-1] == 1
        assert bench.run(dtype="float16")[-1] == 1


def trained(backend: Any) -> list[float]:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).init(0)
    step = adl.train_step(model, "cross_entropy", adl.optimizer("adam"))
    draw = np.random.default_rng(0)
    losses = [
        float(step(draw.normal(size=(5, 6, 6, 2)).astype(np.float32), draw.integers(0, 3, 5)))
        for _ in range(6)
    ]
    assert step.captured
    return losses


def test_a_captured_step_tries_plans_in_its_eager_runs_alone(monkeypatch):
    real, seen = FakeDevice.capture, []

    def capture(device: Any, function: Any) -> Any:
        runtime, calls = backend.runtime, backend.cudnn.calls
        runtime.is_capturing = True
        seen.append(calls.count("plan 1"))
        try:
            return real(device, function)
        finally:
            runtime.is_capturing = False
            seen.append(calls.count("plan 1"))

    monkeypatch.setattr(FakeDevice, "capture", capture)
    with adl.use_backend(RehearsalBackend()) as backend:
        plain = trained(backend)
    assert seen == [0, 0]
    with adl.use_backend(RehearsalBackend()) as backend, agnostic_dl_cupy.autotune():
        assert trained(backend) == plain
    seen.append(backend.cudnn.calls.count("plan 1"))
    assert seen[2] >= 3  # the convolution by itself, with bias and rectifier, its weight's gradient
    assert seen[2:] == [seen[2]] * 3


def test_cupys_events_are_on_the_current_stream_and_give_seconds():
    noted: list[Any] = []
    events = iter(["before", "after"])

    class Event(SimpleNamespace):
        def __init__(self) -> None:
            super().__init__(name=next(events))

        def synchronize(self) -> None:
            noted.append(f"wait for {self.name}")

    class Device(SimpleNamespace):
        __enter__ = __exit__ = lambda *_: None

    stream = SimpleNamespace(record=lambda event: noted.append(event.name))
    runtime = object.__new__(CupyRuntime)
    runtime.device, runtime.cupy = 1, SimpleNamespace(cuda=SimpleNamespace(
        Device=lambda number: Device(), Event=Event, get_current_stream=lambda number: stream,
        get_elapsed_time=lambda start, end: {("before", "after"): 250.0}[start.name, end.name],
    ))  # fmt: skip
    assert runtime.seconds(lambda: noted.append("work")) == 0.25
    assert noted == ["before", "work", "after", "wait for after"]


def test_runs_that_are_to_repeat_leave_out_plans_that_do_not_and_the_clock():
    bench = Bench(Plan(3.0, note="NONDETERMINISTIC"), Plan(2.0), Plan(1.0))
    with agnostic_dl_cupy.autotune():
        bench.graphs.repeatable = True
        assert [bench.run(), bench.run()] == [[1], [1]]
        bench.graphs.repeatable = False
        assert bench.run()[-1] == 2
