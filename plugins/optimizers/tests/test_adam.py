"""Adam's efficient variant against the paper's formula, and what the two variants share."""

from __future__ import annotations

import numpy as np
import pytest

import agnostic_dl as adl


def paper_efficient(recipe, dtype, *, alpha, beta1, beta2, eps_hat):
    """Section 2, last paragraph of Kingma and Ba, 2015, in plain NumPy."""
    theta = recipe.start(dtype)
    m = v = np.zeros_like(theta)
    for t in range(1, 1001):
        g = recipe.gradient(t, dtype)
        alpha_t = alpha * (1.0 - beta2**t) ** 0.5 / (1.0 - beta1**t)
        m = beta1 * m + (1.0 - beta1) * g
        v = beta2 * v + (1.0 - beta2) * g * g
        theta = theta - alpha_t * m / (np.sqrt(v) + eps_hat)
        yield t, theta


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_efficient_follows_the_papers_formula_over_1000_steps(recipe, dtype, eps):
    optimizer = adl.optimizer("adam", learning_rate=1e-3, eps=eps, efficient=True)
    theta, state, travelled = recipe.start(dtype), None, np.zeros(recipe.SIZE)
    formula = paper_efficient(recipe, dtype, alpha=1e-3, beta1=0.9, beta2=0.999, eps_hat=eps)
    for step, expected in formula:
        before = theta
        grad = recipe.gradient(step, dtype)
        theta, state = adl.optim.step(optimizer, theta, grad, state, step=step)
        travelled = travelled + np.abs(theta.astype(np.float64) - before)
        bound = 1e-13 if dtype == "float64" else 1e-5 * travelled
        assert np.all(np.abs(theta - expected) <= bound), f"step {step}"


def test_with_a_large_epsilon_the_variants_differ(recipe):
    results = []
    for efficient in (False, True):
        optimizer = adl.optimizer("adam", eps=1e-2, efficient=efficient)
        theta, state = recipe.start("float64"), None
        for step in range(1, 11):
            grad = recipe.gradient(step, "float64")
            theta, state = adl.optim.step(optimizer, theta, grad, state, step=step)
        results.append(theta)
    assert np.max(np.abs(results[0] - results[1])) > 1e-5


def test_without_epsilon_the_variants_are_one_formula(recipe):
    optimizers = [adl.optimizer("adam", eps=0.0, efficient=flag) for flag in (False, True)]
    theta, grad = recipe.start("float64"), recipe.gradient(1, "float64")
    plain, efficient = (adl.optim.step(o, theta, grad, step=1)[0] for o in optimizers)
    np.testing.assert_allclose(plain, efficient, rtol=1e-14)


@pytest.mark.parametrize("eps", [1e-7, 5e-7])
def test_float16_parameters_without_a_gradient_stay_where_they_are(eps):
    """In the first steps, ε times its correction is less than float16 has."""
    engine = adl.optim.Engine(adl.optimizer("adam", eps=eps))
    values = np.linspace(-1, 1, 5).astype(np.float16)
    params = {"w": values}
    state = engine.init(params)
    for _ in range(3):
        params, state = engine.update(params, {"w": np.zeros_like(values)}, state)
    np.testing.assert_array_equal(params["w"], values)


def test_bias_corrections_are_computed_in_float64():
    """In float32, 1 - 0.999 ** 1 is off by 1e-5 already."""
    scalars = adl.optimizer("adam").scalars(1e-3, 1)
    assert scalars["eps"] == 1e-8 * (1 - 0.999) ** 0.5
    assert scalars["size"] == 1e-3 * (1 - 0.999) ** 0.5 / (1 - 0.9)
