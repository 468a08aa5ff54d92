"""What is refused, and numbers that are none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from precision_cases import BAD, GOOD, ONE, batches, mlp, tiny

import agnostic_dl as adl
from agnostic_dl.errors import NonFiniteError, UnknownNameError, UsageError


def test_an_unknown_precision_is_refused():
    with pytest.raises(UnknownNameError, match=r"'half'.*'float16' or 'bfloat16'"):
        adl.train_step(mlp(), "mse", adl.optimizer("sgd"), precision="half")
    with pytest.raises(UnknownNameError, match="'half'"):
        adl.Trainer(mlp(), precision="half")


@pytest.mark.parametrize("given", [np.dtype("float16"), np.float16, 16, True, ["float16"]])
def test_a_precision_is_given_by_its_name(given):
    for make in (
        lambda: adl.train_step(mlp(), "mse", adl.optimizer("sgd"), precision=given),
        lambda: adl.Trainer(mlp(), precision=given),
    ):
        with pytest.raises(UsageError, match=r"precision: expected None, 'float16' or 'bfloat16'"):
            make()


def test_a_backend_without_the_dtype_is_refused():
    with adl.use_backend("strict"):
        for precision in ("float16", "bfloat16"):
            with pytest.raises(UsageError, match=r"'strict' has no such dtype.*float32, float64"):
                adl.train_step(mlp(), "mse", adl.optimizer("sgd"), precision=precision)


def test_models_of_another_dtype_are_refused():
    model = mlp().astype("float64")
    with pytest.raises(UsageError, match=r"'fc1.weight' is float64: use model.astype"):
        adl.train_step(model, "mse", adl.optimizer("sgd"), precision="float16")


@pytest.mark.parametrize("capture", [False, True])
@pytest.mark.parametrize("check", [False, True])
def test_a_scale_that_falls_too_far_is_an_error(capture, check):
    step = tiny(capture=capture, check=check)
    for _ in range(30):
        step(*BAD)
    assert step.state["scaling"]["scale"] == 2.0**-14
    with pytest.raises(NonFiniteError, match=r"gradient .*'0.weight'.*scaled by 6.10352e-05"):
        step(*BAD)
    assert step.count == 0
    assert step.state["scaling"]["scale"] == 2.0**-14


def test_looking_at_a_step_that_overflows_does_not_warn():
    step = adl.train_step(mlp(), "cross_entropy", adl.optimizer("sgd"), precision="float16")
    x, y = next(batches(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "linear" in str(adl.program(step, x * np.float32(1e5), y))
        grads = step.gradients(x * np.float32(1e5), y)[2]
    assert not all(np.isfinite(grad).all() for grad in grads.values())


@pytest.mark.parametrize("capture", [False, True])
def test_a_loss_that_is_no_number_is_an_error_at_once(capture):
    step = tiny(capture=capture, check=True)
    step(*GOOD)
    with pytest.raises(NonFiniteError, match="loss became nan in step 2"):
        step(ONE, np.nan * ONE)
    assert step.state["scaling"] == {"scale": 2.0**16, "clean": 1}
    unchecked = tiny(capture=capture)
    assert np.isnan(float(unchecked(ONE, np.nan * ONE)))
    assert unchecked.state["scaling"]["scale"] == 2.0**15


def test_a_layer_that_overflows_in_float16_is_named():
    model = mlp()
    model["fc1"].weight.data = model["fc1"].weight.data * np.float32(1e6)
    step = adl.train_step(
        model, "cross_entropy", adl.optimizer("sgd"), precision="float16", check=True
    )
    with pytest.raises(NonFiniteError, match="first in the output of Linear 'fc1'"):
        step(*next(batches(1)))
