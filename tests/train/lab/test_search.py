"""The search finds a known best rate within its budget; entries are read; the range test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import UnknownNameError, UsageError
from agnostic_dl.optim import Optimizer
from agnostic_dl.train import range_test
from agnostic_dl.train.lab.entry import entries
from agnostic_dl.train.lab.search import Trial, best_rate, next_rates


def searched(start, best, budget):
    trials, rounds = [], 0
    while rates := next_rates(start, trials, budget):
        trials += [Trial(rate, abs(math.log10(rate / best))) for rate in rates]
        rounds += 1
    return trials, rounds


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 5, 6, 7, 9])
@pytest.mark.parametrize("best", [1e-4, 3e-3, 0.02, 1.0])
def test_the_budget_is_the_same_for_all(budget, best):
    trials, rounds = searched(0.01, best, budget)
    assert len(trials) == budget
    assert len({f"{trial.rate:.4g}" for trial in trials}) == budget
    assert rounds <= 1 + budget // 2


@pytest.mark.parametrize("best", [1e-3, 2e-3, 0.01, 0.05, 0.1, 0.3, 1.0])
def test_five_trials_come_within_half_a_decade(best):
    trials, _ = searched(0.01, best, 5)
    assert abs(math.log10(best_rate(trials) / best)) <= 0.5


def test_a_rate_that_diverged_is_not_chosen():
    trials = [Trial(1.0, math.inf), Trial(0.1, 0.7), Trial(0.01, 0.9)]
    assert best_rate(trials) == 0.1
    assert best_rate([Trial(1.0, math.inf), Trial(0.1, math.inf)]) == 0.1


def test_entries_of_a_text():
    first, second, third = entries("sgd,adam:beta1=0.8,beta2=0.99,momentum:nesterov=true")
    assert (first.label, first.hyper, first.rate) == ("sgd", {}, None)
    assert second.hyper == {"beta1": 0.8, "beta2": 0.99}
    assert third.make(0.5).nesterov is True
    assert third.default_rate == 0.01


def test_entries_of_objects_and_labels():
    own = adl.optimizer("sgd", learning_rate=0.3)
    plain, labelled = entries([own])[0], entries({"mine": own, "his": "adam"})
    assert (plain.label, plain.name, plain.rate) == ("sgd", "sgd", 0.3)
    assert [entry.label for entry in labelled] == ["mine", "his"]


def test_an_object_that_nobody_registered():
    @dataclass(frozen=True)
    class Own(Optimizer):
        learning_rate: Any = 0.1

        def update(self, xp: Any, param: Any, grad: Any, state: Any, *, learning_rate: Any) -> Any:
            return param - learning_rate * grad, state

    entry = entries([Own()])[0]
    assert (entry.label, entry.name) == ("Own", None)
    assert entry.make(0.7).learning_rate == 0.7


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", UsageError, "at least one"),
        ("sgd,sgd", UsageError, "twice"),
        ("adma", UnknownNameError, "adam"),
        ("adam:beta3=1", UsageError, "no hyperparameter"),
        ("adam:beta1", UsageError, "KEY=VALUE"),
        ([3], UsageError, "expected names"),
    ],
)
def test_entries_that_are_wrong(text, error, words):
    with pytest.raises(error, match=words):
        entries(text)


# -- the range test ------------------------------------------------------------------------------


class Slope(nn.Module):
    """One weight."""

    def __init__(self) -> None:
        self.fc = nn.Linear(1, 1, bias=False)

    def forward(self, x: Any) -> Any:
        return self.fc(x)


def test_range_test_on_a_parabola():
    """With loss (w - 1)²: SGD converges below the rate 1 and explodes above."""
    x = np.ones((64, 1), dtype=np.float32)
    model = Slope().init(0)
    before = np.array(model.parameters()["fc.weight"].data)
    found = range_test(model, (x, x), "sgd", loss="mse", first=1e-4, last=100.0, steps=80,
                       batch_size=8)  # fmt: skip
    assert np.array_equal(before, model.parameters()["fc.weight"].data)
    assert found.rates[0] == pytest.approx(1e-4)
    assert len(found.rates) < 80
    assert 1e-3 < found.suggestion <= found.largest
    assert found.suggestion < 1.0
    assert found.plot().axes[0].get_xlabel() == "learning rate"


def test_range_test_is_deterministic_and_trains_digits():
    data = adl.data.load("digits")
    model = adl.models.create("linear", input_shape=(8, 8, 1), classes=10)
    first, second = (range_test(model, data, "adam", steps=40, first=1e-5) for _ in range(2))
    assert first.losses == second.losses
    assert 1e-4 < first.suggestion < 1.0


def test_range_test_refuses_nonsense():
    model = adl.models.create("linear", input_shape=(8, 8, 1), classes=10)
    with pytest.raises(UsageError, match="0 < first < last"):
        range_test(model, adl.data.load("digits"), first=1.0, last=0.1)
