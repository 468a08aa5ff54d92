"""Steps in mixed precision as graphs, and on the plugin's kernels run by the host."""

from __future__ import annotations

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.extend import PRIMITIVES, rewrite
from agnostic_dl_cupy.cudnn_graphs import Graphs
from agnostic_dl_cupy.graph import GraphPlan
from agnostic_dl_cupy.graph.plan import WARM_UP
from agnostic_dl_cupy.kernels import REWRITES
from agnostic_dl_cupy.rehearsal import host
from agnostic_dl_cupy.rehearsal.backend import RehearsalBackend
from agnostic_dl_cupy.rehearsal.device import FakeDevice

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


@pytest.fixture
def asked(monkeypatch):
    """What cuDNN's stand-in was asked for: (operation, dtypes of both arguments and the result)."""
    noted = []
    for name in ("forward", "input_grad", "weight_grad"):
        plain = getattr(Graphs, name)

        def noting(self, geo, first, second, *rest, name=name, plain=plain, **more):
            out = plain(self, geo, first, second, *rest, **more)
            if out is not NotImplemented:
                noted.append((name, first.dtype.name, second.dtype.name, out.dtype.name))
            return out

        monkeypatch.setattr(Graphs, name, noting)
    return noted


@pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("capture", [False, True])
def test_the_kernels_train_as_numpy_does_and_cudnn_sees_one_dtype(precision, capture, asked):
    with adl.use_backend("numpy", kernels=()):
        known, losses = trained(precision, capture=False)
    backend = RehearsalBackend()
    with adl.use_backend(backend):
        step, found = trained(precision, capture=capture)
    assert step.captured == capture
    np.testing.assert_allclose(found, losses, rtol=0.02)
    assert step.count == known.count
    assert {name for name, *_ in asked} >= {"forward", "weight_grad"}
    assert {dtype for _, *dtypes in asked for dtype in dtypes} == {precision}
    launched = {kernel for kernel, *_ in backend.runtime.calls}
    assert launched >= {"batch_norm_apply", "batch_norm_input_grad", "max_pool2d_grad"}


@pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))
@pytest.mark.parametrize("channels", [6, 24])
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_batch_norm_of_short_images_is_the_references_rounded(precision, channels):
    """Vectors are float32, and so is the error, but for one rounding of the images."""
    backend = RehearsalBackend()
    draw = np.random.default_rng(0)
    x, g = (
        draw.normal(30, 2, (40, 5, channels)).astype(backend.dtypes[precision]) for _ in range(2)
    )
    weight, bias = (draw.normal(1, 0.3, channels).astype(np.float32) for _ in range(2))
    found = backend.kernels["batch_norm"](backend.xp, x, weight, bias, eps=1e-5)
    mean, var = found[1:]
    calls = {
        "batch_norm": (x, weight, bias), "batch_norm_relu": (x, weight, bias),
        "batch_norm_weight_grad": (g, x, mean, var),
        "batch_norm_gradients": (g, x, mean, var, weight),
        "batch_norm_relu_gradients": (g, x, mean, var, weight, np.asarray(x > x.dtype.type(30))),
    }  # fmt: skip
    roundoff = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[precision]
    for name, arrays in calls.items():
        got = backend.kernels[name](backend.xp, *arrays, eps=1e-5)
        assert got is not NotImplemented, name
        wanted = PRIMITIVES[name].forward(backend.xp, *arrays, eps=1e-5)
        pairs = zip(got, wanted, strict=True) if isinstance(got, tuple) else [(got, wanted)]
        for one, other in pairs:
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            if one.dtype != bool:
                scale = np.abs(other.astype(np.float64)).max()
                rounding = 0 if one.dtype == np.float32 else 2 * roundoff
                gap = np.abs(one.astype(np.float64) - other.astype(np.float64))
                assert gap.max() <= (rounding + 2e-4) * scale, name
    assert backend.kernels["batch_norm"](
        backend.xp, x, weight.astype(np.float64), bias.astype(np.float64), eps=1e-5
    ) is NotImplemented  # fmt: skip


def test_batch_norms_gradients_and_relu_are_put_together_in_short_types_too():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    ).init(0)  # fmt: skip
    with adl.use_backend("numpy", kernels=()):
        step = adl.train_step(model, "mse", adl.optimizer("sgd"), precision="bfloat16")
        x, y = np.zeros((2, 6, 6, 2), np.float32), np.zeros((2, 3), np.float32)
        program = adl.program(step, x, y)
    found = [i.op for i in rewrite(program, REWRITES).code if i.op.startswith("batch_norm")]
    assert found == ["batch_norm_relu", "batch_norm_relu_gradients"]
