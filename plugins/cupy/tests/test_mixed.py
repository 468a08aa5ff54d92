"""Steps in mixed precision as graphs, and on the plugin's kernels run by the host."""

from __future__ import annotations

import numpy as np
import pytest
from fake_device import FakeDevice

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl_cupy.cudnn_graphs import Graphs
from agnostic_dl_cupy.graph import GraphPlan
from agnostic_dl_cupy.graph.plan import WARM_UP
from agnostic_dl_cupy.rehearsal import host
from agnostic_dl_cupy.rehearsal.backend import RehearsalBackend

ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is absent: NumPy has no bfloat16")


def network():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(36, 3),
    ).init(0)  # fmt: skip


def trained(precision, *, capture, count=8, optimizer=None):
    """Steps on random batches; the third and the sixth overflow in float16."""
    draw = np.random.default_rng(0)
    step = adl.train_step(
        network(), "mse", optimizer or adl.optimizer("adam"), precision=precision, capture=capture
    )
    losses = []
    for k in range(count):
        x = draw.normal(size=(5, 6, 6, 2)).astype(np.float32)
        y = draw.normal(size=(5, 3)).astype(np.float32) * (1e4 if k in (2, 5) else 1.0)
        losses.append(float(step(x, y)))
    return step, losses


def state_of(step):
    slots = {f"{n}.{s}": a for n, kept in step.state["slots"].items() for s, a in kept.items()}
    return {**step.model.state_dict(), **slots}


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_replays_are_eager_steps_to_the_bit(precision, clip, monkeypatch):
    engine = adl.optim.Engine(adl.optimizer("adam"), clip_norm=clip)
    plans, backend = [], adl.get_backend("numpy")

    def compiled(program, like=None):
        plans.append(GraphPlan(program, FakeDevice(backend.xp), like))
        return plans[-1]

    with adl.use_backend("numpy", kernels=()) as numpy:
        eager, losses = trained(precision, capture=False, optimizer=engine)
        monkeypatch.setattr(numpy, "compile", compiled)
        step, found = trained(precision, capture=True, optimizer=engine)
    (plan,) = plans
    assert plan.reason is None
    assert plan.device.log.count("replay") == 8 - WARM_UP
    assert found == losses
    kept = state_of(eager)
    for name, array in state_of(step).items():
        np.testing.assert_array_equal(array, kept[name], err_msg=name)
    assert step.count == eager.count
    if precision == "float16":
        assert step.state["scaling"] == eager.state["scaling"]
        assert step.state["scaling"]["scale"] == 2.0 ** (16 - (8 - step.count))
        assert 2 <= step.count <= 6


@pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))
def test_the_kernels_train_as_numpy_does_and_cudnn_sees_one_dtype(monkeypatch):
    asked = []
    for name in ("forward", "input_grad", "weight_grad"):
        plain = getattr(Graphs, name)

        def noting(self, geo, first, second, *rest, name=name, plain=plain, **more):
            out = plain(self, geo, first, second, *rest, **more)
            if out is not NotImplemented:
                asked.append((name, first.dtype.name, second.dtype.name, out.dtype.name))
            return out

        monkeypatch.setattr(Graphs, name, noting)
    with adl.use_backend("numpy", kernels=()):
        _, losses = trained("bfloat16", capture=False)
    backend = RehearsalBackend()
    with adl.use_backend(backend):
        _, found = trained("bfloat16", capture=False)
    np.testing.assert_allclose(found, losses, rtol=0.05)
    assert {name for name, *_ in asked} >= {"forward", "weight_grad"}
    assert {dtype for _, *dtypes in asked for dtype in dtypes} == {"bfloat16"}
    assert {kernel for kernel, *_ in backend.runtime.calls} >= {"relu", "max_pool2d_grad"}
