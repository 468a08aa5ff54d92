"""Plans on a pretended device: what is asked of it in which order, and equal results."""

from __future__ import annotations

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import CaptureWarning, UsageError
from agnostic_dl.extend import CHAIN, Instruction, Program, Value
from agnostic_dl_cupy.graph import GraphPlan
from agnostic_dl_cupy.graph.passes import in_place, prepared
from agnostic_dl_cupy.graph.plan import WARM_UP
from agnostic_dl_cupy.rehearsal import host
from agnostic_dl_cupy.rehearsal.device import FakeDevice


class Counting:
    """The NumPy backend with plans of the fake device."""

    def __init__(self, monkeypatch, fail_at=None, generated=False):
        self.plans = []
        backend = adl.get_backend("numpy")

        def compiled(program, like=None):
            made = FakeDevice(backend.xp, fail_at, rewrites=backend.rewrites, generated=generated)
            device = made if like is None else None
            self.plans.append(GraphPlan(program, device, like))
            return self.plans[-1]

        monkeypatch.setattr(backend, "compile", compiled)


def network():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(36, 3),
    ).init(0)  # fmt: skip


def trained(optimizer, *, capture, check=False, count=7, sizes=(5,), between=None):
    draw = np.random.default_rng(0)
    step = adl.train_step(network(), "cross_entropy", optimizer, check=check, capture=capture)
    losses = []
    for k in range(count):
        n = sizes[k % len(sizes)]
        x = draw.normal(size=(n, 6, 6, 2)).astype(np.float32)
        losses.append(float(step(x, draw.integers(0, 3, n))))
        if between is not None:
            between()
    return step, losses


def states_equal(one, other):
    a, b = one.model.state_dict(), other.model.state_dict()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    for name, slots in one.state["slots"].items():
        for slot, array in slots.items():
            np.testing.assert_array_equal(array, other.state["slots"][name][slot])


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adagrad", "nadam", "radam", "muon"])
@pytest.mark.parametrize("check", [False, True])
def test_replays_are_eager_steps_to_the_bit(name, check, monkeypatch):
    eager, losses = trained(adl.optimizer(name), capture=False, check=check)
    made = Counting(monkeypatch)
    step, found = trained(adl.optimizer(name), capture=True, check=check)
    (plan,) = made.plans
    assert plan.reason is None
    assert plan.device.log.count("replay") == 7 - WARM_UP
    assert found == losses
    states_equal(step, eager)


@pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))
@pytest.mark.parametrize("check", [False, True])
def test_replays_of_the_generated_kernels_are_eager_steps_to_the_bit(check, monkeypatch):
    eager, losses = trained(adl.optimizer("adam"), capture=False, check=check)
    Counting(monkeypatch, generated=True)
    step, found = trained(adl.optimizer("adam"), capture=True, check=check)
    assert found == losses
    states_equal(step, eager)


def test_batches_of_two_sizes_share_the_state_and_have_a_graph_each(monkeypatch):
    eager, losses = trained(adl.optimizer("adam"), capture=False, sizes=(5, 3), count=10)
    made = Counting(monkeypatch)
    step, found = trained(adl.optimizer("adam"), capture=True, sizes=(5, 3), count=10)
    first, second = made.plans
    assert first._state is second._state
    assert first.device is second.device
    assert first.device.log.count("begin") == 2
    assert found == losses
    states_equal(step, eager)


def test_it_warms_up_captures_once_and_replays(monkeypatch):
    made = Counting(monkeypatch)
    trained(adl.optimizer("adam"), capture=True)
    log = made.plans[0].device.log
    begin, end = log.index("begin"), log.index("end")
    assert log.count("begin") == log.count("end") == 1
    assert "replay" not in log[:end]
    assert "upload" not in log[begin:end]
    after = log[end + 1 :]
    assert set(after) <= {"replay", "copy", "upload"}, "a replayed step only feeds its inputs"
    assert log[begin:end].count("launch") >= 1
    assert "conv2d" not in log, "its bias is in the same kernel"
    warm = log[:begin].count("conv2d_bias")
    assert warm == WARM_UP


def test_the_capture_takes_memory_of_the_private_pool_alone(monkeypatch):
    made = Counting(monkeypatch)
    outside = []
    real = FakeDevice.capture

    def capture(device, function):
        before = len(device.outside)
        result = real(device, function)
        outside.append(len(device.outside) - before)
        return result

    monkeypatch.setattr(FakeDevice, "capture", capture)
    trained(adl.optimizer("adam"), capture=True)
    assert outside == [0]
    assert len(made.plans) == 1


def test_what_others_do_with_their_memory_changes_nothing(monkeypatch):
    eager, losses = trained(adl.optimizer("adam"), capture=False)
    made = Counting(monkeypatch)

    def scribble():
        """All memory outside the private pool is given away and written over."""
        for plan in made.plans:
            for array in plan.device.outside:
                array[...] = 0 if array.dtype == bool else -1e9
            plan.device.outside.clear()

    step, found = trained(adl.optimizer("adam"), capture=True, between=scribble)
    assert found == losses
    states_equal(step, eager)


def test_static_places_stay_where_they_are(monkeypatch):
    made = Counting(monkeypatch)
    places = []
    trained(adl.optimizer("adam"), capture=True, between=lambda: places.append(
        {n: a.ctypes.data for n, a in (made.plans[0]._state | made.plans[0]._inputs).items()}
    ))  # fmt: skip
    assert all(p == places[0] for p in places)


@pytest.mark.parametrize("fail_at", ["conv2d_bias", "launch", "pack"])
def test_a_capture_that_fails_is_ended_said_once_and_steps_go_on_eagerly(fail_at, monkeypatch):
    eager, losses = trained(adl.optimizer("adam"), capture=False)
    made = Counting(monkeypatch, fail_at)
    with pytest.warns(CaptureWarning, match="runs eagerly: RuntimeError: the current stream") as w:
        step, found = trained(adl.optimizer("adam"), capture=True)
    assert len(w) == 1
    log = made.plans[0].device.log
    assert log.count("begin") == log.count("end") == 1
    assert "replay" not in log
    assert found == losses
    states_equal(step, eager)


def test_where_the_guard_is_false_the_state_is_what_it_was(monkeypatch):
    made = Counting(monkeypatch)
    trained(adl.optimizer("adam"), capture=True, check=True)
    (plan,) = made.plans
    before = {name: plan.read(name) for name in plan.program.state}
    inputs = {n: a.copy() for n, a in plan._inputs.items()}
    inputs["x"][0, 0, 0, 0] = np.nan
    found = plan.run(inputs)
    assert not found["finite"]
    assert np.isnan(found["loss"])
    for name, array in before.items():
        np.testing.assert_array_equal(plan.read(name), array, err_msg=name)


def test_the_update_of_one_optimizer_is_one_launch_that_writes_in_place():
    step = adl.train_step(network(), "cross_entropy", adl.optimizer("adam"), check=True)
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype(np.float32)
    code = prepared(adl.program(step, x, np.zeros(4, np.int64)))
    written = in_place(code)
    flat = [code.outputs[f"flat.0.{name}"] for name in ("param", "m", "v")]
    assert set(flat) <= set(written)
    makers = [i for i in code.code if set(flat) & set(i.outs)]
    assert [i.op for i in makers] == [CHAIN]
    assert "where" in {i.op for i in makers[0].static["code"]}


def test_old_state_that_is_read_later_is_not_written_over():
    """b takes a's old value, a takes b's: both must be read before either is written."""
    f = Value((6,), "float32")
    code = (
        Instruction("add", (0, 0), (2,)), Instruction("square", (2,), (3,)),
        Instruction("matmul", (0, 0), (4,)),
    )  # fmt: skip
    program = Program(
        {0: f, 1: f, 2: f, 3: f, 4: Value((), "float32")}, code,
        {"param.a": 0, "param.b": 1}, {"param.a": 3, "param.b": 0, "loss": 4},
        {"param.a": "param.a", "param.b": "param.b"},
    )  # fmt: skip
    xp = adl.get_backend("numpy").xp
    plan = GraphPlan(program, FakeDevice(xp))
    a, b = np.arange(6, dtype=np.float32), np.ones(6, np.float32)
    plan.load({"param.a": a, "param.b": b})
    for _ in range(5):
        expected = np.float32(a @ a)
        a, b = np.square(a + a), a
        assert plan.run({})["loss"] == expected
        np.testing.assert_array_equal(plan.read("param.a"), a)
        np.testing.assert_array_equal(plan.read("param.b"), b)
        a = a / 1e4
        plan.load({"param.a": a})


def test_results_are_the_callers_own(monkeypatch):
    made = Counting(monkeypatch)
    trained(adl.optimizer("sgd"), capture=True)
    (plan,) = made.plans
    inputs = {n: a.copy() for n, a in plan._inputs.items()}
    first = plan.run(inputs)
    kept = first["outputs"].copy()
    first["loss"][...] = 5
    inputs["x"] += 1
    second = plan.run(inputs)
    np.testing.assert_array_equal(first["outputs"], kept)
    assert second["loss"] != 5


def test_an_input_that_is_left_out_is_named(monkeypatch):
    made = Counting(monkeypatch)
    trained(adl.optimizer("sgd"), capture=True)
    with pytest.raises(UsageError, match=r"needs the inputs .*x"):
        made.plans[0].run({})


def test_a_result_that_looks_at_new_state_is_a_copy():
    """The loss is a view of what the next run writes over."""
    f = Value((4,), "float32")
    code = (
        Instruction("add", (0, 0), (1,)), Instruction("negative", (1,), (2,)),
        Instruction("negative", (2,), (3,)), Instruction("reshape", (3,), (4,), {"shape": (2, 2)}),
    )  # fmt: skip
    program = Program(
        {0: f, 1: f, 2: f, 3: f, 4: Value((2, 2), "float32")}, code, {"param.a": 0},
        {"param.a": 3, "outputs": 4}, {"param.a": "param.a"},
    )  # fmt: skip
    plan = GraphPlan(program, FakeDevice(adl.get_backend("numpy").xp))
    plan.load({"param.a": np.ones(4, np.float32)})
    for k in range(1, 6):
        found = plan.run({})["outputs"]
        np.testing.assert_array_equal(found, np.full((2, 2), 2.0**k, np.float32))
        np.testing.assert_array_equal(plan.read("param.a"), np.full(4, 2.0**k, np.float32))


def test_an_array_of_one_number_is_not_read_from_memory():
    step = adl.train_step(network(), "cross_entropy", adl.optimizer("radam"))
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype(np.float32)
    program = adl.program(step, x, np.zeros(4, np.int64))
    code = prepared(program)
    (update,) = [i for i in code.code if code.outputs["flat.0.param"] in i.outs]
    size = code.values[code.outputs["flat.0.param"]].size
    whole = [n for n in update.reads if code.values[n].size == size]
    assert len(whole) == 4, "param, gradient, m and v"
    assert any(program.values[n].size == size for n in program.constants)


def test_old_state_that_is_read_after_the_update_is_still_the_old_one():
    f, scalar = Value((6,), "float32"), Value((), "float32")
    code = (
        Instruction("add", (0, 0), (1,)), Instruction("negative", (1,), (2,)),
        Instruction("matmul", (2, 0), (3,)),
    )  # fmt: skip
    program = Program(
        {0: f, 1: f, 2: f, 3: scalar}, code, {"param.a": 0}, {"param.a": 2, "loss": 3},
        {"param.a": "param.a"},
    )  # fmt: skip
    plan = GraphPlan(program, FakeDevice(adl.get_backend("numpy").xp))
    a = np.arange(6, dtype=np.float32)
    plan.load({"param.a": a})
    for _ in range(5):
        assert plan.run({})["loss"] == np.float32((-2 * a) @ a)
        a = -2 * a
        np.testing.assert_array_equal(plan.read("param.a"), a)


def test_what_a_plan_keeps_lies_where_no_graph_writes(monkeypatch):
    made = Counting(monkeypatch)
    trained(adl.optimizer("adam"), capture=True, sizes=(5, 3), count=10)
    for plan in made.plans:
        for array in (*plan._state.values(), *plan._inputs.values()):
            assert any(np.shares_memory(array, placed) for placed in plan.device.placed)
            assert not any(np.shares_memory(array, other) for other in plan.device.private)
