"""Accuracy, and metrics by name or function."""

from __future__ import annotations

import numpy as np
import pytest

from agnostic_dl.errors import DTypeError, ShapeError
from agnostic_dl.train import metrics


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_accuracy_is_the_share_of_right_answers(backend, dtype):
    outputs = backend.asarray(np.float32([[1, 2, 0], [3, 1, 2], [0, 0, 1], [5, 4, 4]]))
    labels = backend.asarray(np.array([1, 0, 0, 2], dtype))
    assert float(metrics.accuracy(outputs, labels)) == 0.5


def test_the_first_of_equal_outputs_is_the_answer():
    assert float(metrics.accuracy(np.zeros((4, 3)), np.array([0, 1, 2, 0]))) == 0.5


def test_accuracy_checks_what_it_gets():
    with pytest.raises(ShapeError, match="accuracy"):
        metrics.accuracy(np.zeros((4, 3)), np.zeros((4, 3), int))
    with pytest.raises(DTypeError, match="accuracy"):
        metrics.accuracy(np.zeros((4, 3)), np.zeros(4))


def test_metrics_by_name_by_function_and_none():
    def error_rate(outputs, labels):
        return 1.0

    found = metrics.get(["accuracy", error_rate])
    assert found == {"accuracy": metrics.accuracy, "error_rate": error_rate}
    assert metrics.get("accuracy") == {"accuracy": metrics.accuracy}
    assert metrics.get(error_rate) == {"error_rate": error_rate}
    assert metrics.get(()) == {}
