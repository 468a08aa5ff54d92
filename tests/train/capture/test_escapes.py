"""What a program cannot follow, and what is said about it."""

import warnings

import numpy as np
import pytest
from captured_steps import batches

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import CaptureWarning, UsageError


class Branching(nn.Module):
    def __init__(self, how):
        self.how, self.calls = how, 0
        self.fc = nn.Linear(144 * 2, 3)

    def forward(self, x):
        self.calls += 1
        out = self.fc(adl.namespace("numpy").reshape(adl.Tensor(x), (x.shape[0], -1)))
        return self.how(self, out)


@adl.primitive
def doubled(xp, x):
    return xp.add(x, x)


doubled.defvjp(lambda xp, g, out, x: xp.add(g, g))

ESCAPES = {
    "a branch": (lambda m, out: out * 2 if out[0, 0] > 0 else out, "data of a Tensor was read"),
    "a number": (lambda m, out: out * float(out[0, 0]), "data of a Tensor was read"),
    "a counter": (lambda m, out: out * m.calls, "operation"),
    "another branch": (lambda m, out: out if m.calls % 2 else out + 1.0, "operations"),
    "an array of its own": (
        lambda m, out: out * np.float32(m.calls) * adl.Tensor(np.full(3, m.calls, np.float32)),
        "no primitive made",
    ),
    "an operation of one's own": (lambda m, out: doubled(out), "primitive 'doubled' is not"),
}


@pytest.mark.parametrize("name", ESCAPES)
def test_what_a_program_cannot_follow_runs_eagerly_and_says_so_once(name):
    how, reason = ESCAPES[name]
    step = adl.train_step(Branching(how).init(0), "cross_entropy", adl.optimizer("sgd"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for x, y in batches(4):
            step(x, y)
    (warning,) = [w for w in caught if w.category is CaptureWarning]
    assert reason in str(warning.message)
    assert not step.captured
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(*next(batches(1)))


def test_a_step_that_cannot_be_written_says_why():
    step = adl.train_step(
        Branching(ESCAPES["a number"][0]).init(0), "cross_entropy", adl.optimizer("sgd")
    )
    with pytest.raises(UsageError, match="data of a Tensor was read"):
        adl.program(step, *next(batches(1)))


def test_a_model_without_parameters_is_told_so():
    with pytest.raises(UsageError, match="no parameters"):
        adl.train_step(nn.Sequential(nn.ReLU()), "mse", adl.optimizer("sgd"))
