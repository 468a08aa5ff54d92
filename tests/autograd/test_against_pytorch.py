"""Values and gradients of 200 random compositions of functions, against PyTorch's autograd."""

import random

import numpy as np
import pytest

import agnostic_dl as adl

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

DEPTH, SIDE = 12, 3


def positive(xp, x):
    return xp.abs(x) + 0.5


#: Each maps a (3, 3) matrix of moderate numbers to another: (name, ours, theirs).
STEPS = [
    ("add", lambda xp, x, c: x + c, lambda x, c: x + c),
    ("multiply", lambda xp, x, c: x * c, lambda x, c: x * c),
    ("subtract and square", lambda xp, x, c: (x - c) ** 2, lambda x, c: (x - c) ** 2),
    ("divide", lambda xp, x, c: c / positive(xp, x), lambda x, c: c / positive(torch, x)),
    ("pow", lambda xp, x, c: positive(xp, x) ** 1.7, lambda x, c: positive(torch, x) ** 1.7),
    ("tanh", lambda xp, x, c: xp.tanh(x), lambda x, c: torch.tanh(x)),
    ("sin", lambda xp, x, c: xp.sin(x), lambda x, c: torch.sin(x)),
    ("atan", lambda xp, x, c: xp.atan(x), lambda x, c: torch.atan(x)),
    ("exp", lambda xp, x, c: xp.exp(xp.sin(x)), lambda x, c: torch.exp(torch.sin(x))),
    ("log1p", lambda xp, x, c: xp.log1p(x**2), lambda x, c: torch.log1p(x**2)),
    ("sqrt", lambda xp, x, c: xp.sqrt(x**2 + 1), lambda x, c: torch.sqrt(x**2 + 1)),
    ("logaddexp", lambda xp, x, c: xp.logaddexp(x, c), lambda x, c: torch.logaddexp(x, c)),
    ("maximum", lambda xp, x, c: xp.maximum(x, c), lambda x, c: torch.maximum(x, c)),
    ("clip", lambda xp, x, c: xp.clip(x, -0.9, 0.9) + 0.1 * x,
     lambda x, c: torch.clamp(x, -0.9, 0.9) + 0.1 * x),
    ("where", lambda xp, x, c: xp.where(x > 0, x, x * c),
     lambda x, c: torch.where(x > 0, x, x * c)),
    ("matmul", lambda xp, x, c: x @ c, lambda x, c: x @ c),
    ("transpose", lambda xp, x, c: x.mT + c, lambda x, c: x.mT + c),
    ("sum", lambda xp, x, c: x - xp.sum(x, axis=0, keepdims=True),
     lambda x, c: x - torch.sum(x, 0, keepdim=True)),
    ("mean", lambda xp, x, c: c * xp.mean(x, axis=1, keepdims=True),
     lambda x, c: c * torch.mean(x, 1, keepdim=True)),
    ("std", lambda xp, x, c: x / (1 + xp.std(x, axis=0)),
     lambda x, c: x / (1 + torch.std(x, 0, correction=0))),
    ("prod", lambda xp, x, c: x + xp.prod(xp.tanh(x), axis=1),
     lambda x, c: x + torch.prod(torch.tanh(x), 1)),
    ("cumulative_sum", lambda xp, x, c: xp.cumulative_sum(x, axis=1),
     lambda x, c: torch.cumsum(x, 1)),
    ("max", lambda xp, x, c: x - xp.max(x, axis=1, keepdims=True),
     lambda x, c: x - torch.amax(x, 1, keepdim=True)),
    ("sort", lambda xp, x, c: xp.sort(x, axis=0) * c, lambda x, c: torch.sort(x, 0)[0] * c),
    ("flip", lambda xp, x, c: xp.flip(x, axis=1) + c, lambda x, c: torch.flip(x, (1,)) + c),
    ("roll", lambda xp, x, c: xp.roll(x, 1, axis=0) * c, lambda x, c: torch.roll(x, 1, 0) * c),
    ("concat and slice", lambda xp, x, c: xp.concat([x, c], axis=0)[1:4, :],
     lambda x, c: torch.cat([x, c], 0)[1:4, :]),
    ("stack and sum", lambda xp, x, c: xp.sum(xp.stack([x, c * x]), axis=0),
     lambda x, c: torch.sum(torch.stack([x, c * x]), 0)),
    ("integer array", lambda xp, x, c: x[xp.asarray([2, 0, 2])] * c,
     lambda x, c: x[torch.tensor([2, 0, 2])] * c),
    ("softmax", lambda xp, x, c: xp.softmax(x, axis=-1) + c, lambda x, c: torch.softmax(x, -1) + c),
    ("tril", lambda xp, x, c: xp.tril(x) + c, lambda x, c: torch.tril(x) + c),
    ("solve", lambda xp, x, c: xp.linalg.solve(x @ x.mT + xp.eye(3), c),
     lambda x, c: torch.linalg.solve(x @ x.mT + torch.eye(3, dtype=torch.float64), c)),
    ("slogdet", lambda xp, x, c: x + xp.linalg.slogdet(x @ x.mT + xp.eye(3))[1],
     lambda x, c: x + torch.linalg.slogdet(x @ x.mT + torch.eye(3, dtype=torch.float64))[1]),
    ("fft", lambda xp, x, c: xp.abs(xp.fft.fft(x)) * 0.3,
     lambda x, c: torch.abs(torch.fft.fft(x)) * 0.3),
    ("rfft and irfft", lambda xp, x, c: xp.fft.irfft(xp.fft.rfft(x) * 1.5, n=3),
     lambda x, c: torch.fft.irfft(torch.fft.rfft(x) * 1.5, n=3)),
    ("norm", lambda xp, x, c: x / (1 + xp.linalg.vector_norm(x, axis=1, keepdims=True)),
     lambda x, c: x / (1 + torch.linalg.vector_norm(x, dim=1, keepdim=True))),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(200))
def test_a_random_composition_agrees(seed):
    draw, generator = random.Random(seed), np.random.default_rng(seed)
    chosen = [draw.choice(STEPS) for _ in range(DEPTH)]
    x, *constants = generator.normal(size=(DEPTH + 1, SIDE, SIDE))
    xp = adl.namespace("numpy")

    def ours(x, constants):
        for (_, step, _), c in zip(chosen, constants, strict=True):
            x = xp.tanh(step(xp, x, c)) + 0.3 * x
        return xp.sum(x)

    def theirs(x, constants):
        for (_, _, step), c in zip(chosen, constants, strict=True):
            x = torch.tanh(step(x, c)) + 0.3 * x
        return torch.sum(x)

    value, grads = adl.value_and_grad(ours, argnums=(0, 1))(x, constants)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, *constants)]
    expected = theirs(leaves[0], leaves[1:])
    expected.backward()
    assert abs(float(value) - expected.item()) <= 1e-10 * max(1, abs(expected.item()))
    for found, leaf in zip((grads[0], *grads[1]), leaves, strict=True):
        wanted = np.zeros((SIDE, SIDE)) if leaf.grad is None else leaf.grad.numpy()  # None: unused
        scale = max(1.0, np.max(np.abs(wanted)))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10 * scale)


def test_complex_gradients_agree():
    xp = adl.namespace("numpy")
    z = np.asarray([[1 + 2j, 0.5 - 1j], [-1 + 0.3j, 2j]])

    def f(lib, inv, fft, z):
        return lib.sum(lib.abs(inv(z * z + 1) @ fft(z)) * lib.real(lib.exp(z * 0.1)))

    leaf = torch.tensor(z, requires_grad=True)
    f(torch, torch.linalg.inv, torch.fft.fft, leaf).backward()
    gradient = adl.grad(lambda z: f(xp, xp.linalg.inv, xp.fft.fft, z))(z)
    np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-10)
