"""conv2d and both its gradients against PyTorch, over a grid of geometries, in float64."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.nn import functional as F

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

BOUND = 1e-12
SIZES = [(1, 1), (1, 3), (2, 2), (3, 5), (5, 4), (7, 7)]
KERNELS = [(1, 1), (2, 2), (3, 3), (1, 3), (4, 2)]
STRIDES = [1, 2, (1, 3)]
PADDINGS = [0, 1, (2, 0), "same", "valid"]
DILATIONS = [1, 2, (1, 3)]
GROUPS = [(1, 2, 3), (2, 4, 6), (3, 3, 6), (4, 4, 4)]  # groups, channels in, channels out


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def fits(size, kernel, stride, padding, dilation):
    """Whether the geometry is defined at all: "same" has stride 1, and a window must fit."""
    if padding == "same":
        return stride == 1
    return spans(size, kernel, 0 if padding == "valid" else padding, dilation)


def spans(size, kernel, padding, dilation):
    border, spacing = pair(padding), pair(dilation)
    return all(size[a] + 2 * border[a] >= spacing[a] * (kernel[a] - 1) + 1 for a in (0, 1))


def geometries(kernel):
    for size, stride, padding, dilation in product(SIZES, STRIDES, PADDINGS, DILATIONS):
        if fits(size, kernel, stride, padding, dilation):
            yield size, stride, padding, dilation


def by_torch(x, w, b, cotangent, stride, padding, dilation, groups):
    """Output and three gradients, in our layouts; *cotangent* is a function of the shape."""
    xt = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    wt = torch.from_numpy(w.transpose(3, 2, 0, 1).copy()).requires_grad_()
    bt = torch.from_numpy(b).requires_grad_()
    out = torch.nn.functional.conv2d(xt, wt, bt, stride, padding, dilation, groups)
    last = out.detach().permute(0, 2, 3, 1).numpy()
    g = cotangent(last.shape)
    out.backward(torch.from_numpy(g.transpose(0, 3, 1, 2).copy()))
    return last, g, (
        xt.grad.permute(0, 2, 3, 1).numpy(), wt.grad.permute(2, 3, 1, 0).numpy(), bt.grad.numpy()
    )  # fmt: skip


def compare(backend, relative_error, geometry, kernel, channels):
    (size, stride, padding, dilation), (groups, inside, outside) = geometry, channels
    rng = np.random.default_rng([*size, *kernel, groups])
    x = rng.standard_normal((2, *size, inside))
    w = rng.standard_normal((*kernel, inside // groups, outside))
    b = rng.standard_normal(outside)
    out, g, grads = by_torch(x, w, b, rng.standard_normal, stride, padding, dilation, groups)
    found, pull = adl.vjp(
        lambda x, w, b: F.conv2d(x, w, b, stride, padding, dilation, groups),
        *map(backend.asarray, (x, w, b)),
    )
    pairs = zip((found, *pull(backend.asarray(g))), (out, *grads), strict=True)
    return max(relative_error(backend.to_numpy(ours), theirs) for ours, theirs in pairs)


@pytest.mark.parametrize("channels", GROUPS, ids=lambda c: f"groups{c[0]}")
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: f"{k[0]}x{k[1]}")
def test_output_and_gradients_over_the_grid(host, relative_error, kernel, channels):
    tried = 0
    for geometry in geometries(kernel):
        error = compare(host, relative_error, geometry, kernel, channels)
        assert error <= BOUND, f"size, stride, padding, dilation = {geometry}: {error:.2e}"
        tried += 1
    assert tried >= 40


def test_a_part_of_the_grid_on_every_backend(backend, relative_error):
    cases = [
        (g, k, c) for k in KERNELS for g in geometries(k) for c in GROUPS
    ]  # every 61st: a prime, so that each axis of the grid is met
    for geometry, kernel, channels in cases[::61]:
        error = compare(backend, relative_error, geometry, kernel, channels)
        assert error <= BOUND, f"{geometry}, {kernel}, {channels}: {error:.2e}"


@pytest.mark.parametrize("batch", [0, 1, 5])
def test_batches_of_any_size(host, relative_error, batch):
    x, w, b = np.ones((batch, 4, 4, 3)), np.ones((3, 3, 3, 2)), np.zeros(2)
    out, _, _ = by_torch(x, w, b, np.ones, 1, 1, 1, 1)
    assert relative_error(host.to_numpy(F.conv2d(x, w, b, 1, 1)), out) <= BOUND
