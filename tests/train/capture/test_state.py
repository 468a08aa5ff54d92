"""What a captured step keeps, gives out and lets go of."""

import copy
import gc
import weakref

import numpy as np
import pytest
from captured_steps import batches, network, same, trained

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import NonFiniteError
from agnostic_dl.train.capture import Capture


def test_values_that_were_read_are_not_changed_by_later_steps():
    step, _ = trained(adl.optimizer("adam"), True)
    before = step.model.parameters()["0.weight"].data
    kept = np.array(before)
    step(*next(batches(1)))
    assert np.array_equal(before, kept)
    assert not np.array_equal(step.model.parameters()["0.weight"].data, kept)


def test_a_model_in_training_can_be_copied():
    step, _ = trained(adl.optimizer("adam"), True)
    other = copy.deepcopy(step.model)
    x, y = next(batches(1))
    step(x, y)
    assert not np.array_equal(other.state_dict()["0.weight"], step.model.state_dict()["0.weight"])


def test_it_trains_in_train_mode_as_the_eager_step_does():
    step, _ = trained(adl.optimizer("adam"), True)
    step.model.eval()
    step(*next(batches(1)))
    assert step.captured
    assert step.model.training


def test_a_recording_keeps_none_of_the_steps_arrays():
    """What the first steps computed may go: a plan has memory of its own."""
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(288, 3)

        def forward(self, x):
            out = self.fc(adl.namespace("numpy").reshape(adl.Tensor(x), (x.shape[0], -1)))
            seen.append(weakref.ref(out._value))
            return out

    step = adl.train_step(Watched().init(0), "cross_entropy", adl.optimizer("adam"))
    for x, y in batches(3):
        step(x, y)
    gc.collect()
    assert len(seen) == 2
    assert [ref() for ref in seen] == [None, None]


def test_bad_numbers_stop_it_before_anything_changes():
    step, _ = trained(adl.optimizer("adam"), True)
    before, count = step.model.state_dict(), step.count
    x, y = next(batches(1))
    x[2] = np.nan
    with pytest.raises(NonFiniteError, match="example 2 of the batch"):
        step(x, y)
    assert step.count == count
    assert all(np.array_equal(before[n], a) for n, a in step.model.state_dict().items())


def test_schedules_that_watch_an_epoch_do_not_end_the_capture():
    step, _ = trained(adl.optimizer("adam"), True)
    plan = step._capture._owner.plan
    step.state = step.engine.observe(step.state, {"loss": 1.0})
    step(*next(batches(1)))
    assert step.captured
    assert step._capture._owner.plan is plan
    slots = {n: dict(kept) for n, kept in step.state["slots"].items()}
    step.state = {**step.state, "slots": slots}  # somebody's own: they are loaded anew
    assert not step.captured


def test_every_plan_gives_its_memory_back_before_another_size_is_recorded(monkeypatch):
    plans, rested, backend = [], [], adl.get_backend()
    compiled = backend.compile

    def noted(program, like=None):
        plan = compiled(program, like=like)
        number = len(plans)
        plans.append(plan)
        monkeypatch.setattr(plan, "rest", lambda: rested.append(number))
        return plan

    monkeypatch.setattr(backend, "compile", noted)
    trained(adl.optimizer("sgd"), True, count=3, sizes=(6, 4, 2))
    assert rested == [0, 0, 1]


def test_a_plan_whose_state_could_not_be_loaded_makes_no_steps(monkeypatch):
    def without_memory(*_):
        raise MemoryError

    one, other = (
        adl.train_step(network(), "cross_entropy", adl.optimizer("adam"), capture=capture)
        for capture in (True, False)
    )
    with monkeypatch.context() as patch:
        patch.setattr(Capture, "_take_over", without_memory)
        with pytest.raises(MemoryError):
            one(*next(batches(1)))
    for x, y in batches(3):
        one(x, y)
        other(x, y)
    assert one.captured
    assert same(one, other)
