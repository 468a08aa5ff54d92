"""The captured step: the eager one to the bit, whatever happens in between."""

import sys

import numpy as np
import pytest
from captured_steps import network, same, trained

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.optim import Engine
from agnostic_dl.primitives import PRIMITIVES as P
from agnostic_dl.primitives.dtypes import dtype_named

ENGINES = {
    "adam": lambda: adl.optimizer("adam"),
    "clipped": lambda: Engine(adl.optimizer("momentum"), clip_norm=0.5),
    "overrides": lambda: Engine(
        adl.optimizer("adam"), overrides={"1.*": adl.optimizer("sgd"), "0.weight": None}
    ),
    "schedule": lambda: adl.optimizer("sgd", learning_rate=adl.schedules.cosine(0.1, steps=6)),
    "lamb": lambda: adl.optimizer("lamb"),
    "muon": lambda: adl.optimizer("muon"),
    "nadam": lambda: adl.optimizer("nadam"),
}


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("check", [True, False])
def test_it_is_the_eager_step_to_the_bit(name, check):
    if name in ("lamb", "muon", "nadam") and name not in adl.list_optimizers():
        pytest.skip(f"the optimizer {name} is not installed")
    eager, losses = trained(ENGINES[name](), False, check=check)
    captured, found = trained(ENGINES[name](), True, check=check)
    assert captured.captured
    assert not eager.captured
    if name == "muon":
        # Eager results of transposed arrays are laid out as these are, a plan's always row by row:
        # what is then added up along them may differ in the last place.
        np.testing.assert_allclose(found, losses, rtol=1e-6)
        ours = captured.model.state_dict()
        for key, array in eager.model.state_dict().items():
            np.testing.assert_allclose(ours[key], array, rtol=1e-5, atol=1e-6)
        return
    assert found == losses
    assert same(eager, captured)


def in_the_targets_dtype(outputs, targets):
    return P["mean"](P["multiply"](P["astype"](outputs, dtype=targets.dtype), targets))


def dropping():
    return nn.Sequential(nn.Linear(4, 30), nn.Dropout(0.3), nn.Linear(30, 3)).init(0)


@pytest.mark.parametrize("with_ml_dtypes", [True, False])
@pytest.mark.parametrize(("dtype", "loss"), [
    ("float64", "mse"), ("float64", in_the_targets_dtype), ("float32", in_the_targets_dtype),
])  # fmt: skip
def test_float64_stays_float64(dtype, loss, with_ml_dtypes, monkeypatch):
    """Dropout's mask and `astype` are told a dtype, which a program keeps by its name."""
    if with_ml_dtypes:
        pytest.importorskip("ml_dtypes", reason="ml_dtypes is absent")
    else:
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
        monkeypatch.delitem(adl.get_backend("numpy").dtypes, "bfloat16", raising=False)
        dtype_named.cache_clear()
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(16, 4)).astype(dtype), draw.normal(size=(16, 3))
    steps = [
        adl.train_step(dropping().astype(dtype), loss, adl.optimizer("sgd"), capture=capture)
        for capture in (False, True)
    ]
    losses = [[step(x, y) for _ in range(3)] for step in steps]
    assert steps[1].captured
    assert losses[0] == losses[1]
    assert {np.dtype(a.dtype) for found in losses for a in found} == {np.dtype("float64")}
    assert same(*steps)
    assert steps[1].model[0].weight.data.dtype == dtype


def test_what_is_read_and_assigned_in_between_counts():
    def between(i, step):
        if i == 1:
            step.model.load_state_dict(network().init(7).state_dict())
        if i == 3:
            step.state = {**step.state, "step": 10}
        if i == 4:
            name = next(iter(step.model.parameters()))
            step.model.parameters()[name].data = np.ones((3, 3, 2, 4), np.float32)
        assert step.model.state_dict()

    eager, losses = trained(adl.optimizer("adam"), False, count=8, between=between)
    captured, found = trained(adl.optimizer("adam"), True, count=8, between=between)
    assert found == losses
    assert same(eager, captured)


def test_a_frozen_parameter_stays_as_it_is():
    def between(i, step):
        if i == 2:
            step.model.parameters()["0.weight"].requires_grad = False

    eager, losses = trained(adl.optimizer("adam"), False, between=between)
    captured, found = trained(adl.optimizer("adam"), True, between=between)
    assert found == losses
    assert same(eager, captured)


def test_a_finite_gradient_whose_square_is_not_trains_on():
    losses = []
    for capture in (False, True):
        model = nn.Sequential(nn.Linear(64, 64)).init(0)
        step = adl.train_step(
            model, lambda out, y: adl.losses.mse(out, y) * 1e22,
            adl.optimizer("sgd", learning_rate=1e-24), check=True, capture=capture,
        )  # fmt: skip
        x = np.ones((4, 64), np.float32)
        with np.errstate(over="ignore"):
            losses.append([float(step(x, np.zeros((4, 64), np.float32))) for _ in range(4)])
    assert losses[0] == losses[1]


def test_one_array_may_be_input_and_target():
    step = adl.train_step(nn.Sequential(nn.Linear(3, 3)), "mse", adl.optimizer("sgd"))
    x, z = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    losses = [float(step(x, x)), float(step(x, x)), float(step(x, z))]
    assert losses[2] != pytest.approx(losses[1], rel=1e-3)
