"""Layers, activations and losses against PyTorch in float64: values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import losses, nn
from agnostic_dl.nn import functional as F

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
tF = torch.nn.functional

BOUND = 1e-12


def agree(backend, relative_error, ours, theirs, *arrays, back=lambda a: a, forth=lambda a: a):
    """Value and all gradients of two functions; *forth* and *back* change the image layout."""
    theirs_in = [torch.from_numpy(forth(a).copy()).requires_grad_() for a in arrays]
    out = theirs(*theirs_in)
    expected = back(out.detach().numpy())
    g = np.random.default_rng(5).standard_normal(expected.shape)
    out.backward(torch.from_numpy(np.array(forth(g))))
    found, pull = adl.vjp(ours, *map(backend.asarray, arrays))
    assert relative_error(backend.to_numpy(found), expected) <= BOUND
    for grad, tensor in zip(pull(backend.asarray(g)), theirs_in, strict=True):
        assert relative_error(backend.to_numpy(grad), back(tensor.grad.numpy())) <= BOUND


def first(a):
    return a.transpose(0, 3, 1, 2) if a.ndim == 4 else a


def last(a):
    return a.transpose(0, 2, 3, 1) if a.ndim == 4 else a


ACTIVATIONS = {
    "relu": (F.relu, tF.relu),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.2), lambda x: tF.leaky_relu(x, 0.2)),
    "tanh": (F.tanh, torch.tanh),
    "sigmoid": (F.sigmoid, torch.sigmoid),
    "silu": (F.silu, tF.silu),
    "gelu": (F.gelu, lambda x: tF.gelu(x, approximate="tanh")),
    "softmax": (F.softmax, lambda x: tF.softmax(x, -1)),
    "softmax-axis0": (lambda x: F.softmax(x, 0), lambda x: tF.softmax(x, 0)),
    "log_softmax": (F.log_softmax, lambda x: tF.log_softmax(x, -1)),
}


@pytest.mark.parametrize("scale", [1.0, 30.0], ids=["ordinary", "saturated"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(backend, relative_error, draw, name, scale):
    x = draw(5, 7) * scale
    x[0, :3] = 0.0, -scale, scale
    agree(backend, relative_error, *ACTIVATIONS[name], x)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (1, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(backend, relative_error, draw, shape, bias):
    arrays = [draw(*shape), draw(4, 5, seed=1), *([draw(5, seed=2)] if bias else [])]
    agree(
        backend, relative_error, F.linear,
        lambda x, w, *b: tF.linear(x, w.T, *b), *arrays,
    )  # fmt: skip


@pytest.mark.parametrize("trailing", [(4,), (3, 4), (2, 3, 4)])
def test_layer_norm(backend, relative_error, draw, trailing):
    layer = nn.LayerNorm(trailing).astype("float64").init(0)
    x, weight, bias = draw(5, 2, 3, 4), draw(*trailing, seed=1), draw(*trailing, seed=2)
    layer.load_state_dict({"weight": weight, "bias": bias})
    agree(
        backend, relative_error, layer,
        lambda x: tF.layer_norm(x, trailing, torch.from_numpy(weight), torch.from_numpy(bias)), x,
    )  # fmt: skip


def twin_batch_norms(backend, draw, **options):
    ours = nn.BatchNorm2d(3, **options).astype("float64").init(0)
    theirs = torch.nn.BatchNorm2d(3, **options, dtype=torch.float64)
    weight, bias = draw(3, seed=1), draw(3, seed=2)
    ours.weight.data, ours.bias.data = backend.asarray(weight), backend.asarray(bias)
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(weight))
        theirs.bias.copy_(torch.from_numpy(bias))
    return ours, theirs


@pytest.mark.parametrize("options", [{}, {"eps": 1e-2, "momentum": 0.3}], ids=["default", "other"])
@pytest.mark.parametrize("shape", [(4, 3, 5, 3), (5, 1, 1, 3), (1, 2, 2, 3)])
def test_batch_norm_trains_and_evaluates_as_pytorchs(backend, relative_error, draw, shape, options):
    ours, theirs = twin_batch_norms(backend, draw, **options)
    for step in range(3):
        x = draw(*shape, seed=step) * 2.0 + 1.0
        agree(backend, relative_error, ours, theirs, x, forth=first, back=last)
    for name in ("running_mean", "running_var"):  # the variance is the unbiased one
        running = backend.to_numpy(getattr(ours, name).data)
        assert relative_error(running, getattr(theirs, name).numpy()) <= BOUND
    ours.eval()
    theirs.eval()
    before = backend.to_numpy(ours.running_mean.data).copy()
    agree(backend, relative_error, ours, theirs, draw(*shape, seed=9), forth=first, back=last)
    np.testing.assert_array_equal(backend.to_numpy(ours.running_mean.data), before)


def test_batch_norm_gradients_of_weight_and_bias(host, relative_error, draw):
    ours, theirs = twin_batch_norms(host, draw)
    x, g = draw(4, 3, 5, 3), draw(4, 3, 5, 3, seed=1)
    theirs(torch.from_numpy(first(x))).backward(torch.from_numpy(first(g)))
    ours(host.asarray(x)).backward(host.asarray(g))
    for name in ("weight", "bias"):
        expected = getattr(theirs, name).grad.numpy()
        assert relative_error(getattr(ours, name).grad.data, expected) <= BOUND


LOSSES = {
    "mse": (losses.mse, tF.mse_loss),
    "mae": (losses.mae, tF.l1_loss),
    "binary_cross_entropy": (
        losses.binary_cross_entropy,
        lambda x, t: tF.binary_cross_entropy_with_logits(x, t),
    ),
}


@pytest.mark.parametrize("scale", [1.0, 1000.0], ids=["ordinary", "large"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(backend, relative_error, draw, name, scale):
    ours, theirs = LOSSES[name]
    x, target = draw(6, 3) * scale, np.random.default_rng(1).uniform(size=(6, 3))
    fixed = backend.asarray(target)
    agree(
        backend, relative_error, lambda x: ours(x, fixed),
        lambda x: theirs(x, torch.from_numpy(target)), x,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("scale", [1.0, 1000.0], ids=["ordinary", "large"])
def test_cross_entropy(backend, relative_error, draw, scale, dtype):
    logits, labels = draw(6, 4) * scale, np.array([0, 3, 1, 1, 2, 0], dtype)
    known = backend.asarray(labels)
    agree(
        backend, relative_error, lambda x: losses.cross_entropy(x, known),
        lambda x: tF.cross_entropy(x, torch.from_numpy(labels.astype(np.int64))), logits,
    )  # fmt: skip
