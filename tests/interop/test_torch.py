"""Our optimizers inside PyTorch: real torch optimizers that follow torch's own."""

from __future__ import annotations

import copy
import io

import pytest

import agnostic_dl as adl
from agnostic_dl import errors

torch = pytest.importorskip("torch", reason="torch is not installed")


SHAPES = ((7, 5), (5,), (300, 300))


def follow(make_ours, make_theirs, steps=1000, dtype=torch.float64, shapes=SHAPES):
    """The largest difference after the same gradients, over all steps."""
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(s, generator=generator, dtype=dtype) for s in shapes]
    ours = [torch.nn.Parameter(p.clone()) for p in start]
    theirs = [torch.nn.Parameter(p.clone()) for p in start]
    one, two, worst = make_ours(ours), make_theirs(theirs), 0.0
    for _ in range(steps):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator, dtype=dtype)
            b.grad = a.grad.clone()
        one.step()
        two.step()
    for a, b in zip(ours, theirs, strict=True):
        worst = max(worst, float((a - b).abs().max().detach()))
    return worst


CASES = {
    "sgd": ({"learning_rate": 0.1}, lambda p: torch.optim.SGD(p, lr=0.1)),
    "momentum": ({"lr": 0.01}, lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)),
    "adagrad": ({}, lambda p: torch.optim.Adagrad(p)),
    "adam": ({}, lambda p: torch.optim.Adam(p)),
    "adamw": ({}, lambda p: torch.optim.AdamW(p)),
    "rmsprop": ({}, lambda p: torch.optim.RMSprop(p)),
    "adadelta": ({}, lambda p: torch.optim.Adadelta(p)),
    "radam": ({}, lambda p: torch.optim.RAdam(p)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_thousand_steps_beside_torch(name):
    hyper, theirs = CASES[name]
    small = ((7, 5), (5,))
    gap = follow(lambda p: adl.interop.torch.optimizer(name, p, **hyper), theirs, shapes=small)
    assert gap <= 1e-12


def test_large_parameters_in_pieces_and_float32():
    gap = follow(
        lambda p: adl.interop.torch.optimizer("adam", p), lambda p: torch.optim.Adam(p), steps=20
    )
    assert gap <= 1e-13
    gap = follow(
        lambda p: adl.interop.torch.optimizer("adam", p), lambda p: torch.optim.Adam(p),
        steps=100, dtype=torch.float32,
    )  # fmt: skip
    assert gap <= 1e-6


def cnn(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
        torch.nn.Linear(8 * 9, 10),
    ).double()  # fmt: skip


def train(model, optimizer, steps=200):
    data = adl.data.load("digits").train
    for t in range(steps):
        x, y = data[range(32 * (t % 40), 32 * (t % 40) + 32)]
        optimizer.zero_grad()
        x = torch.as_tensor(x).double().permute(0, 3, 1, 2)
        loss = torch.nn.functional.cross_entropy(model(x), torch.as_tensor(y).long())
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_a_cnn_ends_with_the_weights_of_torchs_own_adam():
    one, two = cnn(), cnn()
    train(one, adl.interop.torch.optimizer("adam", one.parameters()))
    last = train(two, torch.optim.Adam(two.parameters()))
    assert last < 2.0  # from 2.3
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert float((a - b).abs().max().detach()) <= 1e-12


def test_it_is_a_real_torch_optimizer_with_groups_of_their_own():
    model = torch.nn.Linear(3, 2)
    optimizer = adl.interop.torch.optimizer(
        "momentum",
        [{"params": [model.weight]}, {"params": [model.bias], "lr": 0.5, "momentum": 0}], lr=0.1,
    )  # fmt: skip
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.5]
    before = model.bias.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    assert torch.allclose(model.bias, before - 2 * 0.5)
    assert "Momentum" in repr(optimizer)


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.1),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10),
        lambda o: torch.optim.lr_scheduler.LinearLR(o),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, 20, cycle_momentum=False),
    ],
    ids=["step", "cosine", "linear", "one cycle"],
)
def test_schedulers_of_torch(make):
    ended = []
    for build in (lambda p: adl.interop.torch.optimizer("adam", p), torch.optim.Adam):
        param = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
        optimizer = build([param])
        scheduler = make(optimizer)
        for t in range(15):
            param.grad = torch.cos(param.detach() * (t + 1))
            optimizer.step()
            scheduler.step()
        ended.append(param.detach())
    assert float((ended[0] - ended[1]).abs().max()) <= 1e-13


def test_closures_and_hooks():
    param = torch.nn.Parameter(torch.tensor(3.0))
    optimizer = adl.interop.torch.optimizer("sgd", [param], lr=0.25)
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))

    def closure():
        optimizer.zero_grad()
        loss = param**2
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 9.0
    assert float(param.detach()) == 1.5
    assert calls == ["after"]


@pytest.mark.parametrize("name", adl.list_optimizers())
def test_state_dict_round_trip_goes_on_to_the_bit(name):
    def build():
        torch.manual_seed(0)
        params = [torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(3))]
        return params, adl.interop.torch.optimizer(name, params)

    def advance(params, optimizer, steps):
        for t in steps:
            for p in params:
                p.grad = torch.sin(p.detach() * (t + 1))
            optimizer.step()

    params, optimizer = build()
    advance(params, optimizer, range(5))
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    others, loaded = build()
    for mine, theirs in zip(others, params, strict=True):
        mine.data.copy_(theirs.data)
    loaded.load_state_dict(saved)
    twin = copy.deepcopy((params, optimizer))
    advance(params, optimizer, range(5, 9))
    advance(others, loaded, range(5, 9))
    advance(*twin, range(5, 9))
    for a, b, c in zip(params, others, twin[0], strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_parameters_without_gradient_stay_and_others_are_frozen_out():
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = adl.interop.torch.optimizer("adam", [used, unused])
    used.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(unused, torch.ones(2))
    assert list(optimizer.state) == [used]


def test_other_layouts_of_memory_0d_and_empty_parameters():
    layouts = torch.channels_last
    start = [torch.randn(8, 3, 5, 5).to(memory_format=layouts), torch.tensor(2.0), torch.ones(0, 3)]
    ends = []
    for make in (lambda p: adl.interop.torch.optimizer("adam", p), torch.optim.Adam):
        params = [torch.nn.Parameter(p.clone()) for p in start]
        optimizer = make(params)
        for t in range(5):
            for p in params:
                p.grad = torch.cos(p.detach() * (t + 1))
            optimizer.step()
        ends.append(params)
    for a, b in zip(*ends, strict=True):
        assert a.stride() == b.stride()
        assert torch.allclose(a, b, atol=1e-6)


def test_what_is_wrong_is_told():
    param = torch.nn.Parameter(torch.ones(2))
    make = adl.interop.torch.optimizer
    with pytest.raises(errors.UsageError, match="no hyperparameter 'betas'"):
        make("adam", [param], betas=(0.9, 0.99))
    with pytest.raises(errors.UsageError, match="no hyperparameter betas"):
        make("adam", [{"params": [param], "betas": 1}])
    with pytest.raises(errors.UsageError, match="lr_scheduler"):
        make("adam", [param], learning_rate=adl.schedules.constant(0.1))
    with pytest.raises(errors.UsageError, match="once"):
        make("adam", [param], learning_rate=0.1, lr=0.1)
    with pytest.raises(errors.UsageError, match="an Engine"):
        make(adl.optim.Engine(adl.optimizer("adam")), [param])
    optimizer = make("adam", [param])
    param.grad = torch.ones(2).to_sparse()
    with pytest.raises(errors.UsageError, match="sparse"):
        optimizer.step()
