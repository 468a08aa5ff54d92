"""Mixed precision beside PyTorch's autocast and GradScaler."""

from __future__ import annotations

import numpy as np
import pytest
from precision_cases import BAD, GOOD, HALVES, ROUNDOFF, batches, cnn, mlp, tiny

import agnostic_dl as adl
from agnostic_dl.optim import Engine
from agnostic_dl.train.precision import LossScaling


def twin(torch, model):
    """The same network in PyTorch, on images (N, H, W, C), with the same weights."""
    weights = {n: torch.tensor(v) for n, v in model.state_dict().items()}
    conv, lines = None, {}
    if "conv.weight" in weights:
        conv = torch.nn.Conv2d(2, 6, 3, padding=1)
        conv.weight.data = weights["conv.weight"].permute(3, 2, 0, 1).contiguous()
        conv.bias.data = weights["conv.bias"]
    for name in ("fc1", "fc2"):
        weight = weights[f"{name}.weight"]
        lines[name] = torch.nn.Linear(*weight.shape)
        lines[name].weight.data = weight.T.contiguous()
        lines[name].bias.data = weights[f"{name}.bias"]
    middle = torch.tanh if conv is not None else torch.relu

    def forward(x):
        if conv is not None:
            x = torch.nn.functional.max_pool2d(torch.relu(conv(x.permute(0, 3, 1, 2))), 2)
            x = x.permute(0, 2, 3, 1)
        return lines["fc2"](middle(lines["fc1"](x.flatten(1))))

    modules = [*lines.values(), *([conv] if conv is not None else [])]
    return forward, [p for m in modules for p in m.parameters()]


def pytorch_losses(torch, model, precision, count):
    forward, parameters = twin(torch, model)
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "float16")
    losses = []
    for x, y in batches(count):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=getattr(torch, precision)):
            out = forward(torch.tensor(x))
            loss = torch.nn.functional.cross_entropy(out, torch.tensor(y))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("make", [mlp, cnn])
def test_losses_are_those_of_pytorchs_autocast(make, precision):
    """Within ten roundings of the first loss, over 30 steps in which it falls to a tenth."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = pytorch_losses(torch, make(), precision, 30)
    step = adl.train_step(
        make(), "cross_entropy", adl.optimizer("adam", learning_rate=1e-2), precision=precision
    )
    ours = [float(step(x, y)) for x, y in batches(30)]
    assert step.captured
    assert ours[-1] < 0.1 * ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=10 * ROUNDOFF[precision] * ours[0])
    plain = adl.train_step(make(), "cross_entropy", adl.optimizer("adam", learning_rate=1e-2))
    assert [float(plain(x, y)) for x, y in batches(30)] != ours


@pytest.mark.parametrize("capture", [False, True])
@pytest.mark.parametrize("check", [False, True])
def test_scales_and_weights_are_those_of_gradscaler(capture, check):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    overflows = [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=2.0**-6, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", growth_interval=3)
    step = tiny(capture=capture, check=check)
    step.precision.scaling = LossScaling(interval=3)
    for overflow in overflows:
        before = scaler.scale(weight.sum()), step.state["scaling"]["scale"]
        assert scaler.get_scale() == before[1]
        weight.grad = torch.full((1,), float("inf") if overflow else scaler.get_scale() / 8)
        scaler.step(optimizer)
        scaler.update()
        step(*(BAD if overflow else GOOD))
        assert step.state["scaling"]["scale"] == scaler.get_scale()
        assert step.state["scaling"]["clean"] == scaler._get_growth_tracker()
        np.testing.assert_array_equal(step.model[0].weight.data[0], weight.detach().numpy())
    assert step.captured == capture
    assert step.count == overflows.count(0)


def test_the_defaults_are_gradscalers():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs, ours = torch.amp.GradScaler("cpu"), LossScaling()
    assert ours.initial == theirs.get_scale()
    assert ours.growth == theirs.get_growth_factor()
    assert ours.backoff == theirs.get_backoff_factor()
    assert ours.interval == theirs.get_growth_interval()


@pytest.mark.parametrize("capture", [False, True])
def test_gradients_are_clipped_after_their_scale_is_taken_away(capture):
    """As PyTorch has it: unscale_, then clip_grad_norm_. The step is as long as the limit says."""
    engine = Engine(adl.optimizer("sgd", learning_rate=1.0), clip_norm=0.0625)
    step = tiny(optimizer=engine, capture=capture)
    for k in range(1, 4):
        step(*GOOD)
        assert step.model[0].weight.data[0, 0] == pytest.approx(1 - 0.0625 * k, rel=1e-5)
