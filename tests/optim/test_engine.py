"""The engine: clipping, overrides, schedules, and the imperative way."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn, schedules
from agnostic_dl.errors import UsageError
from agnostic_dl.optim import Engine, clip_by_global_norm

SGD = adl.optimizer("sgd", learning_rate=0.1)


def grads_like(scale):
    rng = np.random.default_rng(0)
    return {n: rng.standard_normal(s) * scale for n, s in {"a": (3, 4), "b": (5,), "c": ()}.items()}


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("limit", [0.5, 2.0, 1e6])
def test_clipping_is_pytorchs(backend, relative_error, scale, limit):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    grads = grads_like(scale)
    params = {
        n: torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for n, g in grads.items()
    }
    for name, param in params.items():
        param.grad = torch.from_numpy(np.array(grads[name]))
    torch.nn.utils.clip_grad_norm_(params.values(), limit)
    clipped = clip_by_global_norm({n: backend.asarray(g) for n, g in grads.items()}, limit)
    for name, found in clipped.items():
        assert relative_error(backend.to_numpy(found), params[name].grad.numpy()) <= 1e-14


def test_clipping_bounds_the_norm_and_keeps_the_direction(backend):
    grads = {n: backend.asarray(g) for n, g in grads_like(10.0).items()}
    clipped = {n: backend.to_numpy(g) for n, g in clip_by_global_norm(grads, 1.0).items()}
    norm = np.sqrt(sum(np.sum(g * g) for g in clipped.values()))
    assert norm == pytest.approx(1.0, rel=1e-6)
    assert norm <= 1.0
    assert clip_by_global_norm({}, 1.0) == {}


def model_with_gradients(scale=1.0):
    """Two layers whose gradients are all *scale*."""
    model = nn.Sequential(conv=nn.Conv2d(1, 2, 2), flatten=nn.Flatten(), fc=nn.Linear(2, 2)).init(0)
    for parameter in model.parameters().values():
        parameter.grad = adl.Tensor(np.full(parameter.shape, scale, np.float32))
    return model


def moved(model, before):
    return {n: float(np.max(np.abs(a - before[n]))) for n, a in model.state_dict().items()}


def test_bound_step_updates_every_parameter_and_counts():
    model = model_with_gradients()
    before, bound = model.state_dict(), Engine(SGD).bind(model)
    bound.step()
    assert moved(model, before) == pytest.approx(dict.fromkeys(before, 0.1), rel=1e-5)
    assert bound.state["step"] == 1
    bound.zero_grad()
    assert all(p.grad is None for p in model.parameters().values())
    with pytest.raises(UsageError, match=r"loss\.backward\(\)"):
        bound.step()


def test_the_imperative_way_is_train_step_to_the_bit():
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    y = np.array([0, 1, 2, 0, 1, 2])

    def make():
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).init(3)

    optimizer = adl.optimizer("adam", learning_rate=0.01)
    one, other = make(), make()
    step, bound = adl.train_step(one, "cross_entropy", optimizer), Engine(optimizer).bind(other)
    for _ in range(5):
        loss = adl.losses.cross_entropy(other(x), y)
        loss.backward()
        bound.step()
        bound.zero_grad()
        assert float(step(x, y)) == float(loss.data)
    for name, values in one.state_dict().items():
        assert values.tobytes() == other.state_dict()[name].tobytes(), name


def test_a_parameter_without_gradient_stays_and_so_does_its_state():
    model = model_with_gradients()
    model["fc"].bias.grad = None
    before, bound = model.state_dict(), Engine(adl.optimizer("momentum")).bind(model)
    bound.step()
    assert moved(model, before)["fc.bias"] == 0.0
    assert not np.any(bound.state["slots"]["fc.bias"]["velocity"])


def test_overrides_by_pattern_the_first_match_counts():
    fast = adl.optimizer("sgd", learning_rate=1.0)
    engine = Engine(SGD, overrides={"conv.bias": None, "conv*": fast, "*.bias": fast})
    model = model_with_gradients()
    before = model.state_dict()
    engine.bind(model).step()
    expected = {"conv.weight": 1.0, "conv.bias": 0.0, "fc.weight": 0.1, "fc.bias": 1.0}
    assert moved(model, before) == pytest.approx(expected, rel=1e-5)


def test_an_override_has_a_state_of_its_own_kind():
    engine = Engine(SGD, overrides={"conv*": adl.optimizer("adam"), "fc.bias": None})
    slots = engine.bind(model_with_gradients()).state["slots"]
    assert {n: sorted(s) for n, s in slots.items()} == {
        "conv.weight": ["m", "v"], "conv.bias": ["m", "v"], "fc.weight": []
    }  # fmt: skip


def test_a_pattern_that_matches_nothing_names_the_parameters():
    engine = Engine(SGD, overrides={"conv1.*": None})
    with pytest.raises(
        UsageError, match=r"'conv1\.\*' matches no parameter.*conv\.weight, conv\.b"
    ):
        engine.bind(model_with_gradients())


def test_frozen_parameters_do_not_count_for_the_norm():
    model = model_with_gradients()
    model["conv"].weight.grad = adl.Tensor(np.full(model["conv"].weight.shape, 1e6, np.float32))
    before = model.state_dict()
    Engine(SGD, clip_norm=1e3, overrides={"conv*": None}).bind(model).step()
    assert moved(model, before)["fc.weight"] == pytest.approx(0.1, rel=1e-5)


def test_clip_norm_scales_all_gradients_together():
    model = model_with_gradients(scale=2.0)
    count = sum(p.size for p in model.parameters().values())
    before = model.state_dict()
    Engine(SGD, clip_norm=1.0).bind(model).step()
    expected = 0.1 / count**0.5
    assert moved(model, before) == pytest.approx(dict.fromkeys(before, expected), rel=1e-4)


def test_each_optimizer_follows_its_own_schedule():
    engine = Engine(
        adl.optimizer("sgd", learning_rate=schedules.step_decay(1.0, every=1)),
        overrides={"fc*": adl.optimizer("sgd", learning_rate=schedules.hold_then_decay(1.0, 1))},
    )
    model = model_with_gradients()
    bound, found = engine.bind(model), []
    for _ in range(3):
        assert bound.learning_rate == pytest.approx(0.1 ** len(found))
        before = model.state_dict()
        bound.step()
        steps = moved(model, before)
        found.append((steps["conv.weight"], steps["fc.weight"]))
    assert found == [pytest.approx(pair, rel=1e-4) for pair in [(1, 1), (0.1, 0.5), (0.01, 1 / 3)]]


def test_a_metric_reaches_every_plateau():
    plateau = schedules.reduce_on_plateau(1.0, patience=0)
    engine = Engine(
        adl.optimizer("sgd", learning_rate=plateau),
        overrides={"fc*": adl.optimizer("sgd", learning_rate=plateau)},
    )
    bound = engine.bind(model_with_gradients())
    bound.step(metric=1.0)
    assert bound.learning_rate == 1.0
    bound.step(metric=2.0)
    assert [memory["learning_rate"] for memory in bound.state["schedules"]] == [0.1, 0.1]


def test_update_is_pure(backend):
    params = {"a": backend.asarray(np.ones(3, np.float32))}
    grads = {"a": backend.asarray(np.full(3, 2.0, np.float32))}
    engine = Engine(adl.optimizer("adam"), clip_norm=1.0)
    state = engine.init(params)
    kept = backend.to_numpy(state["slots"]["a"]["m"]).copy()
    new, new_state = engine.update(params, grads, state)
    assert (state["step"], new_state["step"]) == (0, 1)
    np.testing.assert_array_equal(backend.to_numpy(state["slots"]["a"]["m"]), kept)
    np.testing.assert_array_equal(backend.to_numpy(params["a"]), 1.0)
    assert np.all(backend.to_numpy(new["a"]) < 1.0)
    assert backend.to_numpy(new["a"]).dtype == np.float32


@pytest.mark.parametrize(
    "arguments",
    [
        ((Engine(SGD),), {}), (("sgd",), {}), ((SGD,), {"clip_norm": 0.0}),
        ((SGD,), {"clip_norm": -1}), ((SGD,), {"overrides": {"*": "adam"}}),
        ((SimpleNamespace(update=1, learning_rate=-1),), {}),
    ],
    ids=["engine", "name", "no norm", "negative norm", "override by name", "rate"],
)  # fmt: skip
def test_impossible_engines_are_refused(arguments):
    with pytest.raises(UsageError):
        Engine(*arguments[0], **arguments[1])


def test_an_update_that_changes_shape_or_dtype_is_refused():
    class Shrinks(type(SGD)):
        def update(self, xp, param, grad, state, *, learning_rate):
            return xp.sum(param), state

    with pytest.raises(adl.errors.ShapeError, match="shape and dtype must stay"):
        adl.optim.step(Shrinks(), np.ones(3), np.ones(3), step=1)
