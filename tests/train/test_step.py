"""train_step: one update of a model in place."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import GradientError, ShapeError


def test_a_step_lowers_the_loss_and_returns_a_0_d_array(backend, problem, small):
    x, y = (backend.asarray(a) for a in problem)
    step = adl.train_step(small(), "cross_entropy", adl.optimizer("adam", learning_rate=0.01))
    losses = [step(x, y) for _ in range(8)]
    assert isinstance(losses[0], backend.array_type)
    assert losses[0].shape == ()
    assert float(losses[-1]) < float(losses[0])
    assert step.count == 8
    assert step.backend.name == backend.name


def test_host_data_is_taken_to_the_models_backend(problem, small):
    with adl.use_backend("strict"):
        step = adl.train_step(small(), "cross_entropy", adl.optimizer("sgd"))
    assert step.backend.name == "strict"
    assert isinstance(step(*problem), adl.get_backend("strict").array_type)


def test_the_model_is_initialised_from_the_seed_unless_it_is(problem, small):
    model = small()
    adl.train_step(model, "cross_entropy", adl.optimizer("sgd"), seed=3)
    for name, values in small().init(3).state_dict().items():
        assert values.tobytes() == model.state_dict()[name].tobytes(), name
    adl.train_step(model, "cross_entropy", adl.optimizer("sgd"), seed=4)
    assert model["fc"].weight.data.tobytes() == small().init(3)["fc"].weight.data.tobytes()


def run(problem, small, seed, steps=3):
    model = small().init(0)
    step = adl.train_step(model, adl.losses.cross_entropy, adl.optimizer("adam"), seed=seed)
    for _ in range(steps):
        step(*problem)
    return b"".join(values.tobytes() for values in model.state_dict().values())


def test_the_same_seed_gives_the_same_bits_and_another_another_dropout(problem, small):
    assert run(problem, small, seed=1) == run(problem, small, seed=1)
    assert run(problem, small, seed=1) != run(problem, small, seed=2)


def test_a_step_puts_the_model_into_train_mode(problem, small):
    model = small().init(0).eval()
    adl.train_step(model, "cross_entropy", adl.optimizer("sgd"))(*problem)
    assert all(m.training for _, m in model.named_modules())
    assert np.any(model["bn"].running_mean.data)


def test_parameters_stay_at_hand_and_gradients_do_not(problem, small):
    model = small().init(0)
    kept = model.parameters()
    step = adl.train_step(model, "cross_entropy", adl.optimizer("sgd", learning_rate=0.5))
    before = model["fc"].weight.data
    step(*problem)
    assert model.parameters()["fc.weight"] is kept["fc.weight"]
    assert not np.array_equal(model["fc"].weight.data, before)
    assert model["fc"].weight.grad is None


def test_frozen_parameters_stay(problem, small):
    model = small().init(0)
    before = model["conv"].weight.data.copy()
    engine = adl.optim.Engine(adl.optimizer("adam"), overrides={"conv*": None})
    adl.train_step(model, "cross_entropy", engine)(*problem)
    np.testing.assert_array_equal(model["conv"].weight.data, before)


def test_float64_models_train_in_float64(problem):
    model = nn.Sequential(nn.Flatten(), nn.Linear(30, 3)).astype("float64").init(0)
    x, y = problem
    step = adl.train_step(model, "cross_entropy", adl.optimizer("adam"))
    assert step(x.astype(np.float64), y).dtype == np.float64
    assert model[1].weight.data.dtype == np.float64


def test_a_loss_of_ones_own(problem):
    def squares(outputs, targets):
        return adl.losses.mse(outputs, targets) * 0.5

    model = nn.Sequential(nn.Flatten(), nn.Linear(30, 1))
    step = adl.train_step(model, squares, adl.optimizer("sgd", learning_rate=0.01))
    x, y = problem
    target = y.astype(np.float32)[:, None]
    assert float(step(x, target)) > float(step(x, target))


@pytest.mark.parametrize(
    ("loss", "kind", "words"),
    [
        (lambda o, y: o, ShapeError, r"0-d, got shape \(50, 3\)"),
        (lambda o, y: o.detach(), GradientError, "does not depend on any parameter"),
        (lambda o, y: 1.0, GradientError, "does not depend on any parameter"),
    ],
    ids=["not reduced", "detached", "a number"],
)
def test_a_loss_that_cannot_be_trained_on(problem, small, loss, kind, words):
    step = adl.train_step(small(), loss, adl.optimizer("sgd"))
    with pytest.raises(kind, match=words):
        step(*problem)


def test_wrong_labels_are_refused_before_anything_is_changed(problem, small):
    x, y = problem
    model = small().init(0)
    before = model["fc"].weight.data.copy()
    step = adl.train_step(model, "cross_entropy", adl.optimizer("sgd"))
    with pytest.raises(ShapeError):
        step(x, y[:-1])
    np.testing.assert_array_equal(model["fc"].weight.data, before)
    assert step.count == 0


@pytest.mark.parametrize("made", [0, 2])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda step: pickle.loads(pickle.dumps(step))])
def test_an_eager_step_can_be_copied_and_goes_on_by_itself(problem, small, copied, made):
    step = adl.train_step(small(), "cross_entropy", adl.optimizer("adam"), capture=False)
    for _ in range(made):
        step(*problem)
    other = copied(step)
    losses = [float(step(*problem)) for _ in range(3)]
    assert [float(other(*problem)) for _ in range(3)] == losses
    assert other.count == step.count == made + 3


FORKED = """
import os, threading, warnings
import agnostic_dl as adl
from agnostic_dl import nn

warnings.simplefilter("ignore")  # of the fork, while there are threads
begun, over = threading.Event(), threading.Event()

def loss(outputs, y):  # a step that takes until it is told
    if threading.current_thread() is not threading.main_thread():
        begun.set()
        over.wait()
    return nn.losses.cross_entropy(outputs, y)

model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
step = adl.train_step(model, loss, adl.optimizer("sgd"), capture=False)
batch = [[[1.0, 2.0, 3.0, 4.0]]], [0]
other = threading.Thread(target=step, args=batch)
other.start()
begun.wait()
child = os.fork()
if child == 0:
    step(*batch)
    os._exit(7)
found = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
over.set()
other.join()
raise SystemExit(found != 7)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent():
    process = subprocess.Popen([sys.executable, "-c", FORKED], start_new_session=True)
    try:
        assert process.wait(timeout=30) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
