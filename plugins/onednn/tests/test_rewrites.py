"""What the library does in one pass: where it stands in a program, and that it is right."""

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.extend import PRIMITIVES, optimize, rewrite
from agnostic_dl_onednn import library

pytestmark = pytest.mark.skipif(library.reason() is not None, reason=str(library.reason()))


def rewritten(name, shape, dtype="float32", batch=32):
    with adl.use_backend("numpy", kernels=("numpy.onednn",)) as backend:
        model = adl.models.create(name, input_shape=shape, classes=10).init(0).astype(dtype)
        step = adl.train_step(model, "cross_entropy", adl.optimizer("sgd", learning_rate=1e-3))
        x, y = np.zeros((batch, *shape), dtype), np.zeros(batch, np.int64)
        ops = [i.op for i in optimize(rewrite(adl.program(step, x, y), backend.rewrites)).code]
    return {op: ops.count(op) for op in ops}


def test_a_network_s_layers_are_put_together():
    resnet, lenet = rewritten("resnet20", (32, 32, 3)), rewritten("lenet", (28, 28, 1))
    assert resnet["batch_norm_relu"] == resnet["batch_norm_relu_gradients"] == 10
    assert resnet["batch_norm"] == resnet["batch_norm_gradients"] == 11
    assert not {"batch_norm_input_grad", "batch_norm_weight_grad"} & set(resnet)
    assert lenet["max_pool2d_winners"] == lenet["max_pool2d_route"] == 2
    assert lenet["conv2d_weight_bias_grad"] == lenet["conv2d_bias"] == 2
    assert lenet["relu"] == 1, "those behind convolutions are inside of them"
    assert not {"max_pool2d", "max_pool2d_grad", "conv2d_weight_grad"} & set(lenet)


def test_what_the_library_would_decline_stays_as_it_is():
    for found in (
        rewritten("lenet", (28, 28, 1), "float64"),
        rewritten("lenet", (8, 8, 1), batch=1),
    ):
        assert not {"max_pool2d_winners", "conv2d_weight_bias_grad"} & set(found)


@pytest.mark.parametrize("kernel", [2, 3])
def test_winners_are_the_first_also_among_equals(kernel):
    import array_api_compat.numpy as xp

    from agnostic_dl_onednn.kernels import KERNELS

    draw = np.random.default_rng(0)
    x = draw.integers(-1, 2, (16, 15, 15, 32)).astype(np.float32)
    static = {"kernel": (kernel, kernel), "stride": (2, 2), "padding": ((0, 0), (1, 1))}
    wanted = PRIMITIVES["max_pool2d_winners"].forward(xp, x, **static)
    for ours, theirs in zip(KERNELS["max_pool2d_winners"](xp, x, **static), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    g = draw.integers(-9, 9, wanted[0].shape).astype(np.float32)
    routed = KERNELS["max_pool2d_route"](xp, g, wanted[1], size=(15, 15), **static)
    np.testing.assert_array_equal(
        routed, PRIMITIVES["max_pool2d_grad"].forward(xp, g, x, wanted[0], **static)
    )


@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_products_of_matrices_in_order_and_transposed(turned):
    from agnostic_dl_onednn.kernels import KERNELS

    draw = np.random.default_rng(0)
    x, y = (draw.normal(size=s).astype(np.float32) for s in ((96, 70), (70, 130)))
    x = np.ascontiguousarray(x.T).T if turned[0] else x
    y = np.ascontiguousarray(y.T).T if turned[1] else y
    found = KERNELS["matmul"](None, x, y)
    wanted = x.astype(np.float64) @ y.astype(np.float64)
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    part = KERNELS["matmul"](None, x[:, :64], y[:64])  # rows further apart than they are long
    wanted = x[:, :64].astype(np.float64) @ y[:64]
    assert np.abs(part - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert KERNELS["matmul"](None, x[::2], y[:, ::2]) is NotImplemented
    assert KERNELS["matmul"](None, x[:2, :2], y[:2, :2]) is NotImplemented


def pooling_gradient():
    """max_pool2d_grad bound to arrays, its output, and what it should be."""
    from agnostic_dl.extend import Instruction
    from agnostic_dl_onednn.kernels import KERNELS

    draw = np.random.default_rng(0)
    static = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    x, g = (draw.normal(size=(8, n, n, 16)).astype(np.float32) for n in (32, 16))
    out = np.empty_like(x)
    instruction = Instruction("max_pool2d_grad", (0, 1, 2), (3,), static)
    call = KERNELS["max_pool2d_grad"].bind(instruction, [g, x, g], [out])
    return call, out, KERNELS["max_pool2d_grad"](None, g, x, g, **static)


def test_a_bound_call_keeps_what_it_computes_with():
    from agnostic_dl_numpy import scratch

    call, out, wanted = pooling_gradient()
    for name in ("winners", "pooled again"):  # larger ones take the place of its buffers
        scratch.take(name, (1 << 24,), np.uint8).fill(0)
    call()
    np.testing.assert_array_equal(out, wanted)


def test_a_bound_call_follows_the_number_of_threads(monkeypatch):
    from agnostic_dl_onednn import bound, pooling

    call, out, wanted = pooling_gradient()
    monkeypatch.setattr(bound, "thread_count", lambda: -1)
    asked, pool = [], pooling.pool
    monkeypatch.setattr(pooling, "pool", lambda *a: asked.append(a) or pool(*a))
    call()
    np.testing.assert_array_equal(out, wanted)
    assert len(asked) == 1, "it asks for the primitive of the new number"
    monkeypatch.setattr(pooling, "pool", lambda *a: None)
    with pytest.raises(library.OneDNNError, match="declines what it took before"):
        call()


class Normalised(nn.Module):
    """What a batch norm and ReLU are given back through an average over the image: a view."""

    def __init__(self):
        self.conv, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.relu, self.pool = nn.ReLU(), nn.GlobalAvgPool2d()
        self.fc = nn.Linear(16, 4)

    def forward(self, x):
        return self.fc(self.pool(self.relu(self.norm(self.conv(x)))))


def test_a_gradient_that_is_a_view_finds_the_mask():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(16, 24, 24, 3)).astype(np.float32)
    losses, y = [], draw.integers(0, 4, 16)
    for kernels in ((), ("numpy.onednn",)):
        with adl.use_backend("numpy", kernels=kernels):
            optimizer = adl.optimizer("sgd", learning_rate=0.5)
            step = adl.train_step(Normalised().init(0), "cross_entropy", optimizer)
            losses.append([float(step(x, y)) for _ in range(6)])
            assert step.captured
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_the_two_halves_of_batch_norm_behind_relu_serve_plans_alone():
    from agnostic_dl_onednn.kernels import KERNELS

    x, weight = np.ones((16, 24, 24, 16), np.float32), np.ones(16, np.float32)
    assert KERNELS["batch_norm_relu"](None, x, weight, weight, eps=1e-5) is NotImplemented


@pytest.mark.parametrize("what", ["pixel", "weight", "infinite weight"])
def test_a_checked_step_finds_bad_numbers_that_relu_and_pooling_let_fall(what):
    with adl.use_backend("numpy", kernels=("numpy.onednn",)):
        model = adl.models.create("lenet", input_shape=(28, 28, 1), classes=10).init(0)
        step = adl.train_step(model, "cross_entropy", adl.optimizer("adam"), check=True)
        x, y = np.random.default_rng(0).random((32, 28, 28, 1), np.float32), np.arange(32) % 10
        step(x, y)
        step(x, y)
        if what == "pixel":
            x[0, 3, 3, 0] = np.nan
        else:
            values = {name: np.array(a) for name, a in model.state_dict().items()}
            values["conv2.weight"][0, 0, 0, 0] = np.nan if what == "weight" else np.inf
            model.load_state_dict(values)
        with np.errstate(all="ignore"), pytest.raises(adl.errors.NonFiniteError):
            step(x, y)


def test_shapes_that_come_and_go_do_not_pile_up():
    from agnostic_dl_onednn.kernels import KERNELS, convolution

    convolution.cache_clear()
    geometry = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    weight = np.ones((3, 3, 16, 16), np.float32)
    ended = []
    destroy = library.Executable.__del__
    library.Executable.__del__ = lambda self: (ended.append(1), destroy(self))
    try:
        for n in range(library.SHAPES + 20):
            KERNELS["conv2d"](None, np.ones((1, 12 + n, 40, 16), np.float32), weight, **geometry)
    finally:
        library.Executable.__del__ = destroy
    assert convolution.cache_info().currsize == library.SHAPES
    assert len(ended) >= 20
