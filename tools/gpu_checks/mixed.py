"""Steps in mixed precision: beside float32's and NumPy's, captured, and left out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import CaptureWarning
from agnostic_dl_cupy.graph import plan
from gpu_checks.bench import Bench, agree

#: Half a unit in the last place of a number near 1, relative; and how many of these the losses of
#: some steps may be apart, relative to the first: the tests hold them to PyTorch's by as many.
ROUNDING = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
ROUNDINGS = 10
#: Beyond float16's range once it is scaled.
TOO_LARGE = 1e4


class Problem:
    """A small network on one backend, a step, and the batches that it is given."""

    def __init__(self, backend: Any, precision: str | None, capture: bool) -> None:
        self.backend, self.draw = backend, np.random.default_rng(0)
        model = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 9, 4),
        ).init(0)  # fmt: skip
        optimizer = adl.optimizer("adam")
        self.step = adl.train_step(model, "mse", optimizer, precision=precision, capture=capture)

    def batch(self, factor: float = 1.0) -> float:
        """One step on new images; targets as large as *factor*. Its loss."""
        x = self.draw.standard_normal((16, 6, 6, 3), dtype=np.float32)
        y = self.draw.standard_normal((16, 4), dtype=np.float32) * np.float32(factor)
        return float(self.backend.to_numpy(self.step(x, y)))

    def state(self) -> dict[str, Any]:
        """Copies of parameters, buffers and the optimizer's state, on the host."""
        kept = self.step.state["slots"]
        slots = {f"{n}.{s}": a for n, of in kept.items() for s, a in of.items()}
        arrays = {**self.step.model.state_dict(), **slots}
        return {n: np.array(self.backend.to_numpy(a)) for n, a in arrays.items()}


def mixed(bench: Bench) -> dict[str, Any]:
    """bfloat16 and float16: losses near float32's and NumPy's, replays, a step that overflows."""
    found: dict[str, Any] = {}
    for precision in bench.available("bfloat16", "float16"):
        found[precision] = _agreement(bench, precision)
        bench.note(found)
    for capture in (False, True):
        found[f"left out, {'captured' if capture else 'eager'}"] = _left_out(bench, capture)
        bench.note(found)
    return found


def _agreement(bench: Bench, precision: str) -> dict[str, Any]:
    """The same run in several ways; all must agree within some roundings."""
    ways = {
        "captured": (bench.backend, precision, True), "eager": (bench.backend, precision, False),
        "NumPy": (bench.host, precision, False), "float32": (bench.backend, None, True),
        "NumPy in float32": (bench.host, None, False),
    }  # fmt: skip
    losses = {name: _losses(bench, *way) for name, way in ways.items()}
    with _no_graph():
        losses["the captured program, run eagerly"] = _losses(bench, *ways["captured"])
    off = ROUNDINGS * ROUNDING[precision] * losses["NumPy in float32"][0]
    for name, found in losses.items():
        agree(found, losses["captured"], rtol=0, atol=off, name=f"{precision}: {name}")
    # Reported, not required: cuDNN may add up a weight's gradient in another order each time.
    exact = losses["captured"] == losses["the captured program, run eagerly"]
    return {"losses": losses, "allowed": off, "replays equal to the bit": exact}


@contextmanager
def _no_graph() -> Iterator[None]:
    """Plans stay in their warm-up."""
    before, plan.WARM_UP = plan.WARM_UP, 1 << 30
    try:
        yield
    finally:
        plan.WARM_UP = before


def _losses(bench: Bench, backend: Any, precision: str | None, capture: bool) -> list[float]:
    with adl.use_backend(backend), warnings.catch_warnings():
        warnings.simplefilter("error", CaptureWarning)
        problem = Problem(backend, precision, capture)
        losses = [problem.batch() for _ in range(bench.pick(20, 6))]
    if problem.step.captured is not capture:
        raise AssertionError(f"captured: {problem.step.captured}, expected {capture}")
    return losses


def _left_out(bench: Bench, capture: bool) -> dict[str, Any]:
    """A step in float16 whose gradients overflow changes nothing but the scale, which is halved."""
    problem = Problem(bench.backend, "float16", capture)
    for _ in range(6):  # the graph of a captured step is replayed from the fourth on
        problem.batch()
    before, count = problem.state(), problem.step.count
    scale = problem.step.state["scaling"]["scale"]
    problem.batch(TOO_LARGE)
    for name, array in problem.state().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    lowered = problem.step.state["scaling"]["scale"]
    if (lowered, problem.step.count, problem.step.captured) != (scale / 2, count, capture):
        raise AssertionError(
            f"scale {scale} became {lowered}, count {count} became {problem.step.count}, "
            f"captured: {problem.step.captured}, expected {capture}"
        )
    loss = problem.batch()
    if problem.step.count != count + 1 or not np.isfinite(loss):
        raise AssertionError(f"the step after it: loss {loss}, count {problem.step.count}")
    return {"scale": scale, "then": lowered, "next loss": loss}
