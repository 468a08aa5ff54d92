"""oneDNN's kernels against the references, PyTorch, and in a captured step."""

import os
import subprocess
import sys

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl_onednn import library

needs_library = pytest.mark.skipif(library.reason() is not None, reason=str(library.reason()))

#: The layers of lenet, adam-paper-cnn and resnet20 and odd ones: x, weight, padding, stride.
SHAPES = [
    ((16, 28, 28, 1), (3, 3, 1, 32), 1, 1),
    ((16, 14, 14, 32), (3, 3, 32, 64), 1, 1),
    ((8, 32, 32, 3), (5, 5, 3, 64), 2, 1),
    ((8, 15, 15, 64), (5, 5, 64, 64), 2, 1),
    ((8, 32, 32, 16), (3, 3, 16, 32), 1, 2),
    ((8, 32, 32, 16), (1, 1, 16, 32), 0, 2),
    ((256, 17, 13, 7), (3, 2, 7, 5), 1, 3),
    ((4, 17, 13, 24), (3, 3, 24, 20), 1, 1),
]


@needs_library
def test_it_equals_the_references():
    from agnostic_dl_onednn.kernels import KERNELS

    report = adl.testing.check_kernels("numpy.onednn")
    assert {finding.rule: finding.outcome for finding in report.findings} == dict.fromkeys(
        KERNELS, "passed"
    )


@needs_library
def test_small_arrays_that_it_leaves_alone_would_be_right_as_well(monkeypatch):
    from agnostic_dl_onednn import kernels, normalization, pooling

    caches = (kernels.convolution, pooling.pool, normalization.normalization)
    for module, cached in zip((kernels, pooling, normalization), caches, strict=True):
        monkeypatch.setattr(module, "_WORTHWHILE", 0)
        cached.cache_clear()
    try:
        assert adl.testing.check_kernels("numpy.onednn")
    finally:
        for cached in caches:
            cached.cache_clear()


@needs_library
def test_batch_norm_where_the_mean_is_ten_deviations_from_zero():
    import array_api_compat.numpy as xp

    from agnostic_dl.extend import PRIMITIVES
    from agnostic_dl_onednn.kernels import KERNELS

    draw = np.random.default_rng(0)
    x = (draw.normal(size=(64, 16, 16, 32)) + 10).astype(np.float32)
    weight, bias = draw.random((2, 32)).astype(np.float32)
    g = draw.normal(size=x.shape).astype(np.float32)

    def both(name, *arrays):
        wide = [a.astype(np.float64) for a in arrays]
        wanted = PRIMITIVES[name].forward(xp, *wide, eps=1e-5)
        return KERNELS[name](xp, *arrays, eps=1e-5), wanted

    found, wanted = both("batch_norm", x, weight, bias)
    mean, variance = found[1:]
    pairs = [*zip(found, wanted, strict=True)]
    pairs.append(both("batch_norm_input_grad", g, x, mean, variance, weight))
    for ours, theirs in pairs:
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
    # Σ g (x - mean): float32 sums of 16,384 terms around ten times their deviation.
    ours, theirs = both("batch_norm_weight_grad", g, x, mean, variance)
    assert np.abs(ours - theirs).max() <= 5e-5 * np.abs(theirs).max()


@needs_library
@pytest.mark.parametrize(("x", "weight", "padding", "stride"), SHAPES)
def test_it_is_pytorchsconvolution(x, weight, padding, stride):
    torch = pytest.importorskip("torch", reason="PyTorch, the oracle, is not installed")
    from agnostic_dl_onednn.kernels import KERNELS

    draw = np.random.default_rng(0)
    image, taps = (draw.normal(size=s).astype(np.float32) for s in (x, weight))
    bias = draw.normal(size=weight[3]).astype(np.float32)
    geometry = {
        "stride": (stride, stride), "padding": ((padding, padding),) * 2, "dilation": (1, 1),
        "groups": 1,
    }  # fmt: skip
    xs = torch.tensor(image.transpose(0, 3, 1, 2), dtype=torch.float64, requires_grad=True)
    ws = torch.tensor(taps.transpose(3, 2, 0, 1), dtype=torch.float64, requires_grad=True)
    bs = torch.tensor(bias, dtype=torch.float64)
    out = torch.nn.functional.conv2d(xs, ws, bs, stride=stride, padding=padding)
    g = draw.normal(size=out.shape).astype(np.float32)
    out.backward(torch.tensor(g, dtype=torch.float64))
    pulls = np.ascontiguousarray(g.transpose(0, 2, 3, 1))
    found = [
        KERNELS["conv2d_bias"](None, image, taps, bias, relu=False, **geometry),
        KERNELS["conv2d_bias"](None, image, taps, bias, relu=True, **geometry),
        KERNELS["conv2d_input_grad"](None, pulls, taps, size=x[1:3], **geometry),
        KERNELS["conv2d_weight_grad"](None, image, pulls, kernel=weight[:2], **geometry),
    ]
    wanted = [
        out.detach().permute(0, 2, 3, 1), out.detach().relu().permute(0, 2, 3, 1),
        xs.grad.permute(0, 2, 3, 1), ws.grad.permute(2, 3, 1, 0),
    ]  # fmt: skip
    taken = 0
    for ours, theirs in zip(found, wanted, strict=True):
        if ours is NotImplemented:
            continue
        taken += 1
        expected = theirs.numpy()
        # Sums of up to 16 · 28 · 28 float32 products, added in another order.
        assert np.abs(ours - expected).max() <= 1e-5 * np.abs(expected).max()
    assert taken == 4


@needs_library
def test_nothing_of_a_network_falls_to_a_reference_implementation():
    from agnostic_dl_onednn.kernels import convolution

    for x, weight, padding, stride in SHAPES:
        for kind in ("forward", "data", "weights"):
            borders = ((padding, padding),) * 2
            made = convolution(kind, x, weight, False, False, (stride,) * 2, borders, (1, 1), 2)
            assert made is not None
            assert "ref" not in made[0].implementation


@needs_library
@pytest.mark.parametrize(
    ("kind", "weight", "stride", "preferred"),
    [
        ("data", (3, 3, 16, 32), 2, True), ("forward", (3, 3, 32, 64), 1, True),
        ("forward", (3, 3, 16, 16), 1, False), ("data", (5, 5, 64, 128), 1, False),
    ],
)  # fmt: skip
def test_direct_loops_come_first_where_they_are_faster(kind, weight, stride, preferred):
    from agnostic_dl_onednn.kernels import Convolution
    from agnostic_dl_onednn.primitive import direct, implementation

    size, border = 16 // stride, (weight[0] - 1) // 2
    problem = Convolution(
        (8, 16, 16, weight[2]), weight, (8, size, size, weight[3]), False, False, (stride,) * 2,
        ((border,) * 2,) * 2, (1, 1),
    )  # fmt: skip
    first, found = problem.first(kind, ()), problem.description(kind, ())
    usual = implementation(first)
    taken = preferred and "avx512" in usual and direct(first)
    assert implementation(found) == (implementation(first) if taken else usual)
    assert problem.primitive(kind, ()).implementation == implementation(found)


@needs_library
@pytest.mark.parametrize("name", ["lenet", "resnet20"])
def test_a_captured_step_trains_as_without_it(name):
    losses = []
    shape = (28, 28, 1) if name == "lenet" else (32, 32, 3)
    draw = np.random.default_rng(0)
    batches = [
        (draw.normal(size=(32, *shape)).astype(np.float32), draw.integers(0, 10, 32))
        for _ in range(5)
    ]
    for kernels in ((), ("numpy.onednn",)):
        with adl.use_backend("numpy", kernels=kernels):
            model = adl.models.create(name, input_shape=shape, classes=10)
            step = adl.train_step(model, "cross_entropy", adl.optimizer("sgd", learning_rate=1e-3))
            losses.append([float(step(x, y)) for x, y in batches])
            assert step.captured
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@needs_library
def test_what_it_does_not_take_goes_to_the_next():
    from agnostic_dl_onednn.kernels import conv2d

    geometry = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    x, weight = np.ones((8, 32, 32, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
    assert conv2d(None, x, weight, groups=1, **geometry) is not NotImplemented
    assert conv2d(None, x.astype(np.float64), weight, groups=1, **geometry) is NotImplemented
    assert conv2d(None, x, weight, groups=2, **geometry) is NotImplemented
    assert conv2d(None, x[:, ::2], weight, groups=1, **geometry) is NotImplemented
    assert conv2d(None, x[:1, :4, :4], weight, groups=1, **geometry) is NotImplemented


def test_without_the_library_everything_works_and_the_reason_is_one_line():
    code = (
        "import numpy as np, agnostic_dl as adl\n"
        "from agnostic_dl_onednn import library\n"
        "print(library.reason())\n"
        "x = adl.nn.functional.conv2d(np.ones((2, 9, 9, 3)), np.ones((3, 3, 3, 4)))\n"
        "print(x.shape, 'conv2d' in adl.get_backend('numpy').kernels)\n"
    )

    environment = {**os.environ, "AGNOSTIC_DL_ONEDNN": "/nowhere/libdnnl.so.3",
                   "AGNOSTIC_DL_KERNELS": "onednn"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True,
        env=environment, check=True,
    )  # fmt: skip
    reason, rest = done.stdout.strip().splitlines()
    assert "no oneDNN library was found (tried /nowhere/libdnnl.so.3)" in reason
    assert "AGNOSTIC_DL_ONEDNN" in reason
    assert rest == "(2, 7, 7, 4) True"


def test_a_library_that_does_not_fit_says_why(tmp_path, monkeypatch):
    assert "2.6" in library._unfit(library._Version(2, 6, 3, b"", 2, 0), "libdnnl.so.2")
    assert "runtime 4" in library._unfit(library._Version(3, 9, 0, b"", 4, 0), "libdnnl.so.3")
    assert library._unfit(library._Version(3, 2, 0, b"", 2, 0), "libdnnl.so.3") is None
    broken = tmp_path / "libdnnl.so.3"
    broken.write_text("no library" * 1000)
    monkeypatch.setenv("AGNOSTIC_DL_ONEDNN", str(broken))
    found, reason = library._load.__wrapped__()
    assert found is None
    assert f"{broken}: " in reason
    assert "ELF header" in reason, "the loader's own words are told"


@needs_library
@pytest.mark.parametrize("kernel", [2, 3])
def test_the_first_of_equal_values_takes_the_gradient(kernel):
    from agnostic_dl.extend import PRIMITIVES
    from agnostic_dl_onednn.kernels import KERNELS

    draw = np.random.default_rng(0)
    x = draw.integers(-1, 2, (16, 15, 15, 32)).astype(np.float32)
    static = {"kernel": (kernel, kernel), "stride": (2, 2), "padding": ((0, 0), (1, 1))}
    import array_api_compat.numpy as xp

    out = PRIMITIVES["max_pool2d"].forward(xp, x, **static)
    g = draw.integers(-9, 9, out.shape).astype(np.float32)
    assert np.array_equal(KERNELS["max_pool2d"](xp, x, **static), out)
    wanted = PRIMITIVES["max_pool2d_grad"].forward(xp, g, x, out, **static)
    assert np.array_equal(KERNELS["max_pool2d_grad"](xp, g, x, out, **static), wanted)


@needs_library
def test_pinned_to_one_thread_it_gives_one_result_for_any_number_of_cores():
    code = (
        "import hashlib, numpy as np, agnostic_dl as adl\n"
        "adl.use_backend('numpy', kernels=('numpy.onednn',)).backend.pin_threads()\n"
        "draw = np.random.default_rng(0)\n"
        "model = adl.models.create('lenet', input_shape=(28, 28, 1), classes=10)\n"
        "step = adl.train_step(model, 'cross_entropy', adl.optimizer('adam'))\n"
        "for _ in range(4):\n"
        "    step(draw.normal(size=(64, 28, 28, 1)).astype('f'), draw.integers(0, 10, 64))\n"
        "words = b''.join(a.tobytes() for a in model.state_dict().values())\n"
        "print(hashlib.sha256(words).hexdigest())\n"
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


@needs_library
def test_two_threads_may_compute_at_once():
    from concurrent.futures import ThreadPoolExecutor

    from agnostic_dl_onednn.kernels import KERNELS

    static = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    draw = np.random.default_rng(0)
    images = [draw.normal(size=(8, 32, 32, 16)).astype(np.float32) for _ in range(4)]
    pulls = [draw.normal(size=(8, 16, 16, 16)).astype(np.float32) for _ in range(4)]

    def work(k):
        return KERNELS["max_pool2d_grad"](None, pulls[k], images[k], pulls[k], **static)

    alone = [work(k) for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            for found, wanted in zip(pool.map(work, range(4)), alone, strict=True):
                assert np.array_equal(found, wanted)
