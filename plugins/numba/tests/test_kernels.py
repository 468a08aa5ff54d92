"""Pooling and masks against the references and PyTorch; the conformance kit; threads."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import array_api_compat.numpy as xp
import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.extend import PRIMITIVES

pytestmark = pytest.mark.usefixtures("numba_kernels")

NOTHING = ((0, 0), (0, 0))
#: x, kernel, stride, padding: those of the models, overlapping, bordered and leaving pixels out.
WINDOWS = [
    ((4, 28, 28, 32), (2, 2), (2, 2), NOTHING),
    ((4, 15, 16, 64), (3, 3), (2, 2), NOTHING),
    ((3, 9, 8, 20), (3, 3), (2, 2), ((1, 1), (1, 1))),
    ((3, 9, 8, 17), (2, 3), (1, 2), ((0, 1), (2, 0))),
    ((3, 11, 7, 5), (2, 2), (3, 3), NOTHING),
    ((40, 20, 20, 16), (4, 4), (4, 4), NOTHING),
    ((3, 5, 5, 4), (1, 1), (2, 2), NOTHING),
]
KINDS = ("max_pool2d", "max_pool2d_grad", "avg_pool2d", "avg_pool2d_grad")


def kernels():
    from agnostic_dl_numba.kernels import KERNELS

    return KERNELS


def test_it_equals_the_references():
    report = adl.testing.check_kernels("numpy.numba")
    assert {f.rule: f.outcome for f in report.findings} == dict.fromkeys(kernels(), "passed")


def test_few_channels_that_it_leaves_alone_would_be_right_as_well(monkeypatch):
    from agnostic_dl_numba import pooling
    from agnostic_dl_numba.chain import ChainKernel

    monkeypatch.setattr(pooling, "_CHANNELS", 1)
    monkeypatch.setattr(ChainKernel, "bind", lambda *_: None)  # the chains have been judged
    report = adl.testing.check_kernels("numpy.numba")
    assert all(int(f.message.split()[0]) >= 20 for f in report.findings if f.rule in KINDS)


def both(name, *arrays, **static):
    """What the kernel gives, and the reference."""
    found = kernels()[name](xp, *arrays, **static)
    assert found is not NotImplemented
    return found, PRIMITIVES[name].forward(xp, *arrays, **static)


def same_bits(found, wanted):
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    # As numbers: a sum that begins with a zero of one sign may keep the other's.
    assert np.array_equal(found, wanted, equal_nan=True)


@pytest.mark.parametrize("wide", ["g", "out", "both"])
def test_gradients_of_another_dtype_than_the_image_are_left_to_others(wide):
    static = {"kernel": (2, 2), "stride": (2, 2), "padding": NOTHING}
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 16)).astype(np.float32)
    out = PRIMITIVES["max_pool2d"].forward(xp, x, **static)
    g = np.ones(out.shape, np.float64 if wide in ("g", "both") else np.float32)
    out = out.astype(np.float64) if wide in ("out", "both") else out
    assert kernels()["max_pool2d_grad"](xp, g, x, out, **static) is NotImplemented
    with adl.use_backend("numpy"):
        found = PRIMITIVES["max_pool2d_grad"](g, x, out, **static)
    same_bits(found, PRIMITIVES["max_pool2d_grad"].forward(xp, g, x, out, **static))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), WINDOWS)
def test_pooling_has_the_references_bits(shape, kernel, stride, padding, dtype):
    """Sums are added in the reference's order, also where windows overlap."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=shape).astype(dtype)
    static = {"kernel": kernel, "stride": stride, "padding": padding}
    out, wanted = both("max_pool2d", x, **static)
    same_bits(out, wanted)
    g = draw.normal(size=out.shape).astype(dtype)
    same_bits(*both("max_pool2d_grad", g, x, out, **static))
    for borders in (True, False):
        options = {**static, "count_include_pad": borders}
        same_bits(*both("avg_pool2d", x, **options))
        same_bits(*both("avg_pool2d_grad", g, size=shape[1:3], **options))


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("padding", [0, 1])
def test_ties_nan_and_infinities_have_the_references_winners(kernel, padding):
    draw = np.random.default_rng(0)
    x = draw.integers(-1, 2, (8, 9, 9, 24)).astype(np.float32)
    x[draw.random(x.shape) < 0.05] = np.nan
    x[draw.random(x.shape) < 0.3] = -np.inf
    static = {"kernel": (kernel,) * 2, "stride": (2, 2), "padding": ((padding,) * 2,) * 2}
    out, wanted = both("max_pool2d", x, **static)
    same_bits(out, wanted)
    g = draw.integers(-9, 9, out.shape).astype(np.float32)
    same_bits(*both("max_pool2d_grad", g, x, out, **static))


@pytest.mark.parametrize("kernel", [2, 3])
def test_it_is_pytorchs_pooling(kernel):
    torch = pytest.importorskip("torch", reason="PyTorch, the oracle, is not installed")
    draw = np.random.default_rng(0)
    x = draw.normal(size=(16, 13, 13, 16)).astype(np.float32)
    static = {"kernel": (kernel,) * 2, "stride": (2, 2), "padding": ((1, 1), (1, 1))}
    theirs = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    for name, options in (("max_pool2d", {}), ("avg_pool2d", {"count_include_pad": False})):
        pooled = getattr(torch.nn.functional, name)(theirs, kernel, 2, 1, **options)
        g = draw.normal(size=pooled.shape).astype(np.float32)
        (wanted,) = torch.autograd.grad(pooled, theirs, torch.tensor(g))
        pulls = np.ascontiguousarray(g.transpose(0, 2, 3, 1))
        out = kernels()[name](xp, x, **static, **options)
        arguments = (x, out) if name == "max_pool2d" else ()
        size = {} if name == "max_pool2d" else {"size": x.shape[1:3]}
        dx = kernels()[f"{name}_grad"](xp, pulls, *arguments, **size, **static, **options)
        for ours, expected in ((out, pooled), (dx, wanted)):
            expected = expected.detach().numpy().transpose(0, 2, 3, 1)
            assert np.abs(ours - expected).max() <= 1e-6


def test_pooling_that_it_does_not_take():
    static = {"kernel": (2, 2), "stride": (2, 2), "padding": NOTHING}
    x, pool = np.ones((2, 8, 8, 8), np.float32), kernels()["max_pool2d"]
    assert pool(xp, x, **static) is not NotImplemented
    assert pool(xp, x[..., :3].copy(), **static) is NotImplemented
    assert pool(xp, x[:, ::2], **static) is NotImplemented
    assert pool(xp, x.astype(np.float16), **static) is NotImplemented
    assert pool(xp, x[:, :1].copy(), **static) is NotImplemented
    assert pool(xp, x, **{**static, "kernel": (5, 5)}) is NotImplemented
    average = kernels()["avg_pool2d"]
    alone = {**static, "padding": ((2, 0), (0, 0)), "count_include_pad": False}
    assert average(xp, x, **alone) is NotImplemented  # a window of nothing but border


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (128, 1001)])
def test_masks_have_the_references_bits(shape, dtype):
    static = {"stream": (3, 2**32 - 1), "shape": shape, "keep": 0.7, "dtype": dtype}
    same_bits(*both("dropout_mask", np.array([2**32 - 5, 77], np.uint32), **static))
    key = np.array([1, 2], np.uint32)
    for keep in (1.0, 1e-9):
        same_bits(*both("dropout_mask", key, **{**static, "keep": keep}))
    assert kernels()["dropout_mask"](xp, key, **{**static, "dtype": np.float16}) is NotImplemented


def test_networks_train_as_without():
    """The gradients of convolutions are the same kernels': every bit is."""
    draw, losses = np.random.default_rng(0), []
    x, y = draw.normal(size=(16, 12, 12, 1)).astype(np.float32), draw.integers(0, 10, 16)
    for chosen in ((), ("numpy.numba",)):
        with adl.use_backend("numpy", kernels=chosen):
            model = adl.models.create("lenet", input_shape=(12, 12, 1), classes=10)
            step = adl.train_step(model, "cross_entropy", adl.optimizer("adam"))
            losses.append([float(step(x, y)) for _ in range(5)])
            assert step.captured
    # Average pooling is added up in another order than in NumPy's kernels; lenet has none.
    assert losses[0] == losses[1]


def test_two_threads_may_compute_at_once():
    static = {"kernel": (2, 2), "stride": (2, 2), "padding": NOTHING}
    draw = np.random.default_rng(0)
    images = [draw.normal(size=(32, 16, 16, 16)).astype(np.float32) for _ in range(4)]
    alone = [PRIMITIVES["max_pool2d"].forward(xp, x, **static) for x in images]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            found = pool.map(lambda x: kernels()["max_pool2d"](xp, x, **static), images)
            assert all(np.array_equal(a, b) for a, b in zip(found, alone, strict=True))


def test_pinned_to_one_thread_it_gives_one_result_for_any_number_of_cores():
    code = (
        "import hashlib, threading, numpy as np, agnostic_dl as adl\n"
        "adl.use_backend('numpy', kernels=('numpy.numba',)).backend.pin_threads()\n"
        "draw = np.random.default_rng(0)\n"
        "model = adl.models.create('lenet', input_shape=(28, 28, 1), classes=10)\n"
        "step = adl.train_step(model, 'cross_entropy', adl.optimizer('adam'))\n"
        "for _ in range(4):\n"
        "    step(draw.normal(size=(64, 28, 28, 1)).astype('f'), draw.integers(0, 10, 64))\n"
        "words = b''.join(a.tobytes() for a in model.state_dict().values())\n"
        "pool = [t.name for t in threading.enumerate() if 'agnostic-dl' in t.name]\n"
        "print(hashlib.sha256(words).hexdigest(), pool)\n"
    )
    found = set()
    for threads in ("1", "2"):
        environment = {**os.environ, "AGNOSTIC_DL_NUMPY_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment,
            check=True,
        )  # fmt: skip
        found.add(done.stdout)
    assert len(found) == 1
    assert found.pop().endswith("[]\n")
