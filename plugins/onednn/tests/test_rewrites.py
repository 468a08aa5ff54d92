"""What the library does in one pass: where it stands in a program, and that it is right."""

import numpy as np
import pytest

import agnostic_dl as adl
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
    from agnostic_dl_onednn import bound, primitive

    call, out, wanted = pooling_gradient()
    monkeypatch.setattr(bound, "thread_count", lambda: -1)
    monkeypatch.setattr(primitive.Execution, "on", None)  # nothing is bound any more
    call()
    np.testing.assert_array_equal(out, wanted)
