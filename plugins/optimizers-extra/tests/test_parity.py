"""Each optimizer follows PyTorch's or optax's of that name over 1,000 steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import agnostic_dl as adl

REFERENCE = json.loads((Path(__file__).parent / "reference.json").read_text())
CASES = REFERENCE["cases"]


def gradient(t: int) -> np.ndarray:
    """As in tools/make_optimizer_references.py."""
    i = np.arange(12).reshape(4, 3)
    return ((7919 * t * t + 104729 * i + 31 * t * i) % 2003) / 1000 - 1


def run(case: dict, dtype: str) -> tuple[dict[int, np.ndarray], float]:
    """Our parameters after each of the reference's steps, and the way that they went."""
    optimizer = adl.optimizer(case["optimizer"], **case["hyperparameters"])
    param, state = np.asarray(REFERENCE["param"], dtype=dtype), None
    wanted, found, way = {int(t) for t in case["params"]}, {}, 0.0
    for t in range(1, max(wanted) + 1):
        old = param
        param, state = adl.optim.step(optimizer, param, gradient(t).astype(dtype), state, step=t)
        way += float(np.max(np.abs(param - old)))
        if t in wanted:
            found[t] = param
    return found, way


@pytest.mark.parametrize("case", CASES)
def test_float64_follows_to_1e_13(case):
    found, way = run(CASES[case], "float64")
    for t, param in found.items():
        error = np.max(np.abs(param - np.asarray(CASES[case]["params"][str(t)])))
        assert error <= 1e-13 * max(1.0, way), (t, error)


@pytest.mark.parametrize("case", CASES)
def test_float32_follows_to_1e_5_of_the_way(case):
    found, way = run(CASES[case], "float32")
    for t, param in found.items():
        error = np.max(np.abs(param - np.asarray(CASES[case]["params"][str(t)])))
        assert error <= 1e-5 * max(1.0, way), (t, error)


def test_every_optimizer_of_the_distribution_is_in_the_table():
    ours = {p.name for p in adl.list_plugins() if p.distribution == "agnostic-dl-optimizers-extra"}
    assert {case["optimizer"] for case in CASES.values()} == ours


def test_every_flag_is_in_the_table_with_both_values():
    for name in {case["optimizer"] for case in CASES.values()}:
        hyper = [c["hyperparameters"] for c in CASES.values() if c["optimizer"] == name]
        for field, value in vars(adl.optimizer(name)).items():
            if isinstance(value, bool):
                assert {h.get(field, value) for h in hyper} == {True, False}, (name, field)


@pytest.mark.parametrize("eps", [1e-7, 5e-7])
def test_float16_parameters_without_a_gradient_stay_where_they_are(eps):
    """In the first steps, ε times its correction is less than float16 has."""
    engine = adl.optim.Engine(adl.optimizer("adamw", eps=eps, weight_decay=0.0))
    values = np.linspace(-1, 1, 5).astype(np.float16)
    params = {"w": values}
    state = engine.init(params)
    for _ in range(3):
        params, state = engine.update(params, {"w": np.zeros_like(values)}, state)
    np.testing.assert_array_equal(params["w"], values)
