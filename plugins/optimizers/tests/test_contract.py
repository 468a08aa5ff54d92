"""What design and documentation promise of every optimizer in this package."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

import agnostic_dl as adl

NAMES = ("sgd", "momentum", "adagrad", "adam")
pytestmark = pytest.mark.parametrize("name", NAMES)


def test_is_a_frozen_dataclass_with_a_positive_default_rate(name):
    optimizer = adl.optimizer(name)
    assert isinstance(optimizer, adl.optim.Optimizer)
    assert optimizer.learning_rate > 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        optimizer.learning_rate = 1.0
    assert optimizer == adl.optimizer(name)
    assert hash(optimizer) == hash(adl.optimizer(name))


def test_equation_and_source_stand_in_the_docstring(name):
    doc = sys.modules[type(adl.optimizer(name)).__module__].__doc__
    assert "θ ←" in doc
    assert "Source" in doc


def test_writes_to_no_argument_and_reads_read_only_ones(name, recipe):
    optimizer, param = adl.optimizer(name), recipe.start("float32")
    state = None
    for step in (1, 2, 3):
        grad = recipe.gradient(step, "float32")
        for array in (param, grad, *(state or {}).values()):
            array.flags.writeable = False
        param, state = adl.optim.step(optimizer, param, grad, state, step=step)
    assert not np.array_equal(param, recipe.start("float32"))


def test_elementwise_means_that_pieces_give_the_whole(name, recipe):
    optimizer = adl.optimizer(name)
    assert type(optimizer).elementwise is True

    def run(part):
        param, state = recipe.start("float32")[part], None
        for step in range(1, 6):
            grad = recipe.gradient(step, "float32")[part]
            param, state = adl.optim.step(optimizer, param, grad, state, step=step)
        return param

    pieces = np.concatenate([run(slice(0, 3)), run(slice(3, 8))])
    np.testing.assert_array_equal(pieces, run(slice(0, 8)))


def test_zeros_stay_finite_and_where_they_are(name):
    param, state, optimizer = np.zeros(4, np.float32), None, adl.optimizer(name)
    for step in range(1, 4):
        param, state = adl.optim.step(optimizer, param, np.zeros(4, np.float32), state, step=step)
    np.testing.assert_array_equal(param, np.zeros(4, np.float32))
    assert all(np.all(np.isfinite(array)) for array in state.values())


def test_state_has_the_parameters_shape_and_dtype(name):
    for dtype in (np.float32, np.float64):
        param = np.ones((2, 3), dtype)
        _, state = adl.optim.step(adl.optimizer(name), param, param, step=1)
        assert all(a.shape in ((2, 3), ()) and a.dtype == dtype for a in state.values())


def test_never_asks_what_is_in_an_array(name, recipe, monkeypatch):
    """Somebody else's jit traces update: a branch on a value would end that."""

    def refuse(self):
        raise AssertionError("update looked at a value")

    for conversion in ("__bool__", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(adl.Tensor, conversion, refuse, raising=True)
    param, state = recipe.start("float32"), None
    for step in (1, 2):
        grad = recipe.gradient(step, "float32")
        param, state = adl.optim.step(adl.optimizer(name), param, grad, state, step=step)
