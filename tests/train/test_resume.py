"""Stopping within an epoch and going on: as if nothing had happened, wherever it was."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.errors import UsageError
from agnostic_dl.train import Callback, Checkpoints, stop_on_signals

pytest.importorskip("safetensors", reason="safetensors is not installed")

TIMINGS = {"seconds", "images_per_second"}
#: The problem has 50 examples: batches of 20, 20 and 10.
BATCHES = 3


class StopAfter(Callback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, trainer, step, count, loss):
        if trainer.step.count == self.step:
            trainer.request_stop()


def fresh(small):
    rate = adl.schedules.linear_warmup(adl.schedules.reduce_on_plateau(0.01, patience=0), 4)
    trainer = adl.Trainer(small(), adl.optimizer("momentum", learning_rate=rate), seed=5)
    _ = trainer.step  # initialises
    return trainer


def fit(trainer, problem, epochs, *callbacks):
    return trainer.fit(problem, problem, epochs, batch_size=20, callbacks=callbacks)


def state(trainer):
    arrays = {n: a.tobytes() for n, a in trainer.model.state_dict().items()}
    for parameter, slots in trainer.step.state["slots"].items():
        arrays |= {f"{parameter}:{n}": a.tobytes() for n, a in slots.items()}
    rows = [{k: v for k, v in row.items() if k not in TIMINGS} for row in trainer.history]
    return arrays, trainer.step.state["step"], trainer.step.state["schedules"], rows


@pytest.mark.parametrize("step", range(1, 3 * BATCHES + 1))
def test_a_run_stopped_at_any_step_goes_on_as_if_it_had_not(problem, small, tmp_path, step):
    whole, stopped = fresh(small), fresh(small)
    fit(whole, problem, 3)
    fit(stopped, problem, 3, StopAfter(step), Checkpoints(tmp_path))
    assert stopped.stopped
    assert stopped.step.count == step
    again = adl.Trainer.load(tmp_path)
    for trainer in (again, stopped):  # from the disk, and in the same process
        left = 3 - len(trainer.history)
        if left:
            fit(trainer, problem, left)
            assert not trainer.stopped
        assert trainer.position is None
        assert state(trainer) == state(whole)


def test_a_stop_during_validation_validates_anew(problem, small, tmp_path):
    class Held:
        """Data that asks for a stop when its second batch is read."""

        def __init__(self, trainer):
            self.trainer, self.reads = trainer, 0

        def __len__(self):
            return 50

        def __getitem__(self, rows):
            self.reads += 1
            if self.reads == 2 and self.trainer is not None:
                self.trainer.request_stop()
            return problem[0][rows], problem[1][rows]

    whole, stopped = fresh(small), fresh(small)
    fit(whole, problem, 1)
    stopped.fit(problem, Held(stopped), 1, 20, callbacks=[Checkpoints(tmp_path)])
    assert len(stopped.history) == 0
    again = adl.Trainer.load(tmp_path)
    assert again.position.batches == BATCHES
    again.fit(problem, Held(None), 1, 20)
    assert state(again) == state(whole)


@pytest.mark.parametrize(("examples", "batch_size"), [(50, 10), (40, 20)])
def test_an_epoch_under_way_cannot_go_on_with_other_batches(problem, small, examples, batch_size):
    trainer = fresh(small)
    fit(trainer, problem, 1, StopAfter(2))
    other = tuple(part[:examples] for part in problem)
    with pytest.raises(UsageError, match=r"epoch 1 is under way: 2 batches of 20.*position = None"):
        trainer.fit(other, epochs=1, batch_size=batch_size)
    trainer.position = None
    trainer.fit(other, epochs=1, batch_size=batch_size)
    assert len(trainer.history) == 1


def test_checkpoints_come_after_so_many_steps_and_after_epochs(problem, small, tmp_path):
    saved = []

    class Noting(Checkpoints):
        def save(self, trainer):
            saved.append(trainer.step.count)
            super().save(trainer)

    fit(fresh(small), problem, 2, Noting(tmp_path, every_steps=2))
    assert saved == [2, 3, 4, 6, 6]


@pytest.mark.parametrize("option", [{"every_steps": 0}, {"every_minutes": -1}])
def test_an_interval_must_be_positive(option):
    with pytest.raises(UsageError, match="expected a positive number"):
        Checkpoints("run", **option)


def test_a_signal_is_only_noted_and_a_second_one_does_no_harm(problem, small, tmp_path):
    class Signals(Callback):
        def on_step_end(self, trainer, step, count, loss):
            for number in (signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)

    trainer, before = fresh(small), signal.getsignal(signal.SIGTERM)
    with stop_on_signals(trainer) as received:
        fit(trainer, problem, 1, Checkpoints(tmp_path), Signals())
    assert (trainer.step.count, received.exit_code) == (1, 143)
    assert signal.getsignal(signal.SIGTERM) is before
    assert adl.Trainer.load(tmp_path).position.batches == 1


def test_without_a_signal_there_is_no_exit_code(problem, small):
    trainer = fresh(small)
    with stop_on_signals(trainer) as received:
        fit(trainer, problem, 1)
    assert received.exit_code is None


def test_a_step_that_fails_changes_nothing(problem, small):
    trainer = fresh(small)
    fit(trainer, problem, 1)
    before = state(trainer)
    x, y = problem[0].copy(), problem[1]
    x[3] = np.nan
    with pytest.raises(adl.errors.NonFiniteError, match="example 3 of the batch"):
        trainer.step.run(x[:20], y[:20])
    with pytest.raises(adl.errors.DataError, match="labels from 0 to 3, but the model has 3"):
        trainer.step.run(problem[0][:2], np.array([0, 3]))
    assert state(trainer) == before


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (MemoryError("Unable to allocate 1.46 GiB for an array"), "1.46 GiB more"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 640 "
                      "bytes."), "640 bytes more"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), "take 2,400 bytes"),
        (MemoryError(), "take 2,400 bytes"),
    ],
)  # fmt: skip
def test_out_of_memory_is_one_line_in_every_library(problem, small, monkeypatch, error, asked):
    trainer = fresh(small)
    before = state(trainer)

    def fail(*_):
        raise error

    monkeypatch.setattr(trainer.step, "gradients", fail)
    with pytest.raises(adl.errors.OutOfMemoryError, match=f"batch of 20 examples.*{asked}") as told:
        fit(trainer, problem, 1)
    assert "such as 5" in str(told.value)
    assert "\n" not in str(told.value)
    assert state(trainer) == before


def test_other_runtime_errors_stay_what_they_are(problem, small, monkeypatch):
    trainer = fresh(small)

    def fail(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr(trainer.step, "gradients", fail)
    with pytest.raises(RuntimeError, match="something else"):
        fit(trainer, problem, 1)
