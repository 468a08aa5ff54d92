"""One plan that two threads run: each has its own results, and every step counts."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import agnostic_dl as adl
from agnostic_dl.extend import Instruction, Program, Value
from agnostic_dl_cupy.graph import GraphPlan
from agnostic_dl_cupy.graph.plan import WARM_UP
from agnostic_dl_cupy.rehearsal.device import FakeDevice


class Slow(FakeDevice):
    """Hands over to the other thread before everything that it does."""

    def _do(self, name, function):
        time.sleep(0.002)
        super()._do(name, function)

    def replay(self, graph):
        time.sleep(0.002)
        super().replay(graph)

    def fresh(self, array):
        time.sleep(0.002)
        return super().fresh(array)


def counting():
    """Adds its input to the state, and gives twice the input back."""
    f = Value((3,), "float32")
    code = (Instruction("add", (0, 1), (2,)), Instruction("add", (1, 1), (3,)))
    return Program(
        dict.fromkeys(range(4), f), code, {"param.a": 0, "x": 1}, {"param.a": 2, "out": 3},
        {"param.a": "param.a"},
    )  # fmt: skip


def test_threads_take_turns_at_the_static_places():
    plan = GraphPlan(counting(), Slow(adl.get_backend("numpy").xp))
    plan.load({"param.a": np.zeros(3, np.float32)})

    def runs(number):
        x = np.full(3, number, np.float32)
        return [plan.run({"x": x})["out"] for _ in range(8)]

    with ThreadPoolExecutor(2) as threads:
        found = [*threads.map(runs, (1, 10))]
    for number, outs in zip((1, 10), found, strict=True):
        np.testing.assert_array_equal(outs, np.full((8, 3), 2 * number))
    np.testing.assert_array_equal(plan.read("param.a"), np.full(3, 8 * 11))
    assert plan.device.log.count("begin") == 1


def test_every_step_of_two_threads_counts(monkeypatch):
    backend = adl.get_backend("numpy")
    monkeypatch.setattr(
        backend, "compile", lambda program, like=None: GraphPlan(program, Slow(backend.xp), like)
    )
    model = adl.nn.Sequential(adl.nn.Linear(4, 2)).init(0)
    step = adl.train_step(model, "mse", adl.optimizer("adam"))
    x, y = np.ones((5, 4), np.float32), np.zeros((5, 2), np.float32)

    def run(_):
        with adl.use_backend("numpy"):
            return float(step(x, y))

    with ThreadPoolExecutor(2) as threads:
        losses = [*threads.map(run, range(12))]
    assert step.captured
    assert step.count == 12
    alone = adl.train_step(
        adl.nn.Sequential(adl.nn.Linear(4, 2)).init(0), "mse", adl.optimizer("adam"), capture=False
    )
    np.testing.assert_allclose(sorted(losses), sorted(float(alone(x, y)) for _ in range(12)))


def test_a_thread_warms_up_before_it_captures():
    """What the libraries make for a thread at its first call cannot be made within a capture."""
    plan = GraphPlan(counting(), FakeDevice(adl.get_backend("numpy").xp))
    plan.load({"param.a": np.zeros(3, np.float32)})

    def run():
        plan.run({"x": np.ones(3, np.float32)})
        return "begin" in plan.device.log

    with ThreadPoolExecutor(1) as other:
        assert not any(run() for _ in range(WARM_UP))
        assert not any(other.submit(run).result() for _ in range(WARM_UP))
        assert other.submit(run).result()
