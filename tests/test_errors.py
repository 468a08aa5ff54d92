"""The tree of errors: one root, and the built-in exceptions that callers expect."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import errors, nn

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_and_warning_is_of_its_one_tree_and_explained(kind):
    warns = issubclass(kind, Warning)
    assert issubclass(kind, errors.AgnosticDLWarning if warns else errors.AgnosticDLError)
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "built_in"),
    [
        (errors.UsageError, ValueError), (errors.DataError, ValueError),
        (errors.ShapeError, ValueError), (errors.DTypeError, TypeError),
        (errors.ArrayMixError, TypeError), (errors.GradientError, RuntimeError),
        (errors.NonFiniteError, ArithmeticError), (errors.PluginError, RuntimeError),
        (errors.UnknownNameError, ValueError), (errors.ConformanceError, AssertionError),
        (errors.MissingExtraError, ImportError), (errors.CheckpointError, errors.DataError),
        (errors.BackendUnavailable, errors.PluginError), (errors.OutOfMemoryError, MemoryError),
        (errors.CheckpointWarning, UserWarning),
    ],
)  # fmt: skip
def test_an_error_is_also_what_callers_expect(kind, built_in):
    assert issubclass(kind, built_in)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: adl.models.create("lenett", input_shape=(8, 8, 1), classes=2),
         ["'lenett'", "Did you mean 'lenet'?", "linear, mlp, lenet, adam-paper-cnn, resnet20, "
          "resnet18"]),
        (lambda: adl.optimizer("adagard"), ["Did you mean 'adagrad'?", "Installed: "]),
        (lambda: adl.use_backend("strct"), ["Did you mean 'strict'?", "Installed: "]),
        (lambda: nn.losses.get("mese"), ["'mese'", "cross_entropy, mse"]),
        (lambda: adl.Trainer(nn.Linear(1, 1), metrics="acuracy"), ["'acuracy'", "accuracy"]),
    ],
)  # fmt: skip
def test_an_unknown_name_lists_the_known_ones(call, words):
    with pytest.raises(errors.UnknownNameError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input_shape": (8, 8), "classes": 2}, "expected (height, width, channels), got (8, 8)"),
        ({"input_shape": (8, 0, 1), "classes": 2}, "got (8, 0, 1)"),
        ({"input_shape": (8, 8, 1), "classes": 1}, "classes: expected an integer of at least 2"),
        ({"input_shape": (3, 8, 1), "classes": 2}, "at least 4×4, got 3×8"),
        ({"input_shape": (8, 8, 1), "classes": 2, "dropout": 0.1}, "dropout"),
    ],
)
def test_a_model_that_cannot_be_says_why(arguments, words):
    with pytest.raises(errors.UsageError) as caught:
        adl.models.create("lenet", **arguments)
    assert words in str(caught.value)


def test_arrays_of_two_libraries_do_not_mix():
    layer = nn.Linear(2, 2).init(0)
    x = adl.get_backend("strict").asarray(np.ones((1, 2), np.float32))
    with pytest.raises(
        errors.ArrayMixError, match=r"numpy.*array_api_strict|array_api_strict.*num"
    ):
        layer(x)


def test_what_is_no_array_is_refused_with_a_hint():
    with pytest.raises(errors.DTypeError, match="asarray"):
        adl.primitives.PRIMITIVES["exp"]("a string")
