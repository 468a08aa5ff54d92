"""Our optimizers inside optax: real transformations, under jit, that follow optax's own."""

from __future__ import annotations

import pytest

import agnostic_dl as adl
from agnostic_dl import errors

jax = pytest.importorskip("jax", reason="jax is not installed")
optax = pytest.importorskip("optax", reason="optax is not installed")
jnp = jax.numpy


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def run(transform, steps, dtype):
    """A network of two layers trained on a fixed batch, every step under jit."""
    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    params = {
        "hidden": {"w": jax.random.normal(keys[0], (6, 8), dtype) / 3, "b": jnp.zeros(8, dtype)},
        "out": (jax.random.normal(keys[1], (8, 3), dtype) / 3, jnp.zeros((), dtype)),
    }
    x = jax.random.normal(keys[2], (16, 6), dtype)
    y = jax.random.normal(keys[3], (16, 3), dtype)

    def loss(params):
        hidden = jnp.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"])
        return jnp.mean((hidden @ params["out"][0] + params["out"][1] - y) ** 2)

    @jax.jit
    def step(params, state):
        updates, state = transform.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = transform.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params, float(loss(params))


def gap(one, two):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return max(float(jnp.max(jnp.abs(a - b))) for a, b in pairs)


CASES = {
    "sgd": ({"learning_rate": 0.1}, optax.sgd(0.1)),
    "momentum": ({"learning_rate": 0.01}, optax.sgd(0.01, momentum=0.9)),
    "adagrad": ({}, optax.adagrad(1e-2, initial_accumulator_value=0.0, eps=0.0)),
    "adam": ({}, optax.adam(1e-3)),
    "adamw": ({}, optax.adamw(1e-3, weight_decay=1e-2)),
    "lion": ({"weight_decay": 0.1}, optax.lion(1e-4, weight_decay=0.1)),
    "lamb": ({}, optax.lamb(1e-3)),
}
CASES["adagrad"][0]["eps"] = 0.0  # optax has its epsilon inside of the root


@pytest.mark.parametrize("name", CASES)
def test_a_thousand_steps_under_jit_beside_optax_in_float64(name, x64):
    hyper, theirs = CASES[name]
    mine = run(adl.interop.optax.transform(name, **hyper), 1000, jnp.float64)
    other = run(theirs, 1000, jnp.float64)
    assert gap(mine[0], other[0]) <= 1e-11


@pytest.mark.parametrize("name", CASES)
def test_two_hundred_steps_under_jit_beside_optax_in_float32(name):
    hyper, theirs = CASES[name]
    mine = run(adl.interop.optax.transform(name, **hyper), 200, jnp.float32)
    other = run(theirs, 200, jnp.float32)
    assert gap(mine[0], other[0]) <= 2e-5


def test_it_is_a_real_transformation_and_chains():
    transform = adl.interop.optax.transform("adam", learning_rate=0.01)
    assert isinstance(transform, optax.GradientTransformation)
    chains = [
        optax.chain(optax.clip_by_global_norm(0.1), inner)
        for inner in (transform, optax.adam(0.01))
    ]
    ends = [run(chain, 100, jnp.float32) for chain in chains]
    assert gap(ends[0][0], ends[1][0]) <= 2e-5
    masked = optax.masked(transform, {"hidden": {"w": True, "b": False}, "out": False})
    run(masked, 2, jnp.float32)


def test_schedules_of_optax():
    schedule = optax.cosine_decay_schedule(0.01, 50)
    ours = run(adl.interop.optax.transform("adam", learning_rate=schedule), 60, jnp.float32)
    theirs = run(optax.adam(schedule), 60, jnp.float32)
    assert gap(ours[0], theirs[0]) <= 2e-5


def test_hyperparameters_can_be_injected():
    @optax.inject_hyperparams
    def make(learning_rate, beta1):
        return adl.interop.optax.transform("adam", learning_rate=learning_rate, beta1=beta1)

    transform = make(0.01, beta1=0.8)
    assert transform.init(jnp.ones(2)).hyperparams["learning_rate"] == jnp.float32(0.01)
    ours = run(transform, 20, jnp.float32)
    theirs = run(optax.adam(0.01, b1=0.8), 20, jnp.float32)
    assert gap(ours[0], theirs[0]) <= 2e-5


@pytest.mark.parametrize("name", adl.list_optimizers())
def test_every_optimizer_lowers_the_loss_under_jit(name):
    rate = {"adadelta": 10.0, "lion": 1e-3}.get(name, 1e-2)
    start = run(optax.sgd(0.0), 1, jnp.float32)[1]
    end = run(adl.interop.optax.transform(name, learning_rate=rate), 100, jnp.float32)[1]
    assert end < start * 0.9


def test_what_is_wrong_is_told():
    make = adl.interop.optax.transform
    with pytest.raises(errors.UsageError, match="no hyperparameter 'b1'"):
        make("adam", b1=0.9)
    with pytest.raises(errors.UsageError, match="optax schedule"):
        make("adam", learning_rate=adl.schedules.constant(0.1))
    transform = make("adam")
    state = transform.init(jnp.ones(2))
    with pytest.raises(errors.UsageError, match="parameters are needed"):
        transform.update(jnp.ones(2), state)
