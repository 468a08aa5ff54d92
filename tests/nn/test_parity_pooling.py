"""Max and average pooling, output and gradient, against PyTorch over a grid, in float64."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.nn import functional as F

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

BOUND = 1e-12
SIZES = [(1, 1), (1, 4), (2, 2), (3, 5), (5, 4), (8, 7)]
KERNELS = [1, 2, 3, (1, 2), (3, 2), (2, 5)]
STRIDES = [None, 1, 2, (3, 1)]
PADDINGS = [0, 1, (1, 0), (0, 2)]


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def geometries():
    for size, kernel, stride, padding in product(SIZES, KERNELS, STRIDES, PADDINGS):
        window, border = pair(kernel), pair(padding)
        if all(2 * border[a] <= window[a] <= size[a] + 2 * border[a] for a in (0, 1)):
            yield size, kernel, stride, padding


def compare(backend, relative_error, ours, theirs, x):
    """Largest relative error of the output and of the gradient for a random cotangent."""
    xt = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    out = theirs(xt)
    expected = out.detach().permute(0, 2, 3, 1).numpy()
    g = np.random.default_rng(1).standard_normal(expected.shape)
    out.backward(torch.from_numpy(g.transpose(0, 3, 1, 2).copy()))
    found, pull = adl.vjp(ours, backend.asarray(x))
    return max(
        relative_error(backend.to_numpy(found), expected),
        relative_error(
            backend.to_numpy(pull(backend.asarray(g))[0]), xt.grad.permute(0, 2, 3, 1).numpy()
        ),
    )


def max_pool(*geometry):
    return (
        lambda x: F.max_pool2d(x, *geometry),
        lambda x: torch.nn.functional.max_pool2d(x, *geometry),
    )


def avg_pool(include, kernel, stride, padding):
    return (
        lambda x: F.avg_pool2d(x, kernel, stride, padding, include),
        lambda x: torch.nn.functional.avg_pool2d(
            x, kernel, stride, padding, count_include_pad=include
        ),
    )


def check(backend, relative_error, make, x_of, cases):
    for size, *geometry in cases:
        error = compare(backend, relative_error, *make(*geometry), x_of(size))
        assert error <= BOUND, f"size {size}, kernel, stride, padding = {geometry}: {error:.2e}"


def normals(size):
    return np.random.default_rng([7, *size]).standard_normal((2, *size, 3))


def ties(size):
    """Few different values, so that most windows have several largest ones."""
    return np.random.default_rng([8, *size]).integers(0, 2, (2, *size, 3)).astype(np.float64)


def negatives(size):
    """All below zero: a border of zeros would win."""
    return -1.0 - np.abs(normals(size))


MAKERS = {
    "max": max_pool,
    "avg-include-pad": lambda *geometry: avg_pool(True, *geometry),
    "avg-exclude-pad": lambda *geometry: avg_pool(False, *geometry),
}


def test_the_grid_is_as_large_as_it_looks():
    assert len(list(geometries())) > 150


@pytest.mark.parametrize("values", [normals, ties, negatives], ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", MAKERS)
def test_output_and_gradient_over_the_grid(host, relative_error, kind, values):
    check(host, relative_error, MAKERS[kind], values, geometries())


@pytest.mark.parametrize("kind", MAKERS)
def test_a_part_of_the_grid_on_every_backend(backend, relative_error, kind):
    check(backend, relative_error, MAKERS[kind], ties, list(geometries())[::13])


def test_global_average(backend, relative_error, draw):
    x = draw(2, 5, 3, 4)
    found = backend.to_numpy(F.global_avg_pool2d(backend.asarray(x)))
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(x).permute(0, 3, 1, 2), 1)
    assert relative_error(found, expected[:, :, 0, 0].numpy()) <= BOUND
