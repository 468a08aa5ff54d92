"""Schedules against PyTorch's where it has the same, against their formulas elsewhere."""

from __future__ import annotations

import math

import pytest

from agnostic_dl import nn, optim, schedules
from agnostic_dl.errors import UsageError
from agnostic_dl.optim.base import Optimizer


def rates_of(schedule, steps):
    return [schedule(step) for step in range(1, steps + 1)]


def rates_of_torch(make, steps, rate=0.5, metrics=None):
    """The learning rate of each step by a PyTorch scheduler that is stepped after every step."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler, found = make(torch.optim.lr_scheduler, optimizer), []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*([] if metrics is None else [metrics[step]]))
    return found


@pytest.mark.parametrize("factor", [0.1, 0.5])
def test_step_decay_is_pytorchs_step_lr(factor):
    ours = rates_of(schedules.step_decay(0.5, every=7, factor=factor), 30)
    theirs = rates_of_torch(lambda s, o: s.StepLR(o, 7, factor), 30)
    assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("final", [0.0, 0.05])
def test_cosine_is_pytorchs_cosine_annealing_and_then_stays(final):
    schedule = schedules.cosine(0.5, steps=20, final=final)
    theirs = rates_of_torch(lambda s, o: s.CosineAnnealingLR(o, 20, final), 21)
    assert rates_of(schedule, 21) == pytest.approx(theirs, rel=1e-12, abs=1e-16)
    assert rates_of(schedule, 40)[21:] == pytest.approx([final] * 19, abs=1e-16)


def test_linear_warmup_is_pytorchs_linear_lr():
    ours = rates_of(schedules.linear_warmup(0.5, steps=8), 15)
    theirs = rates_of_torch(lambda s, o: s.LinearLR(o, 1 / 8, 1.0, total_iters=7), 15)
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_linear_warmup_hands_over_to_a_schedule_that_counts_from_its_end():
    then = schedules.step_decay(0.5, every=2)
    warm = schedules.linear_warmup(then, steps=3)
    assert rates_of(warm, 9)[3:] == rates_of(then, 6)
    assert rates_of(warm, 3) == pytest.approx([0.5 / 3, 1.0 / 3, 0.5])


def test_constant_and_hold_then_decay():
    assert set(rates_of(schedules.constant(0.3), 5)) == {0.3}
    held = rates_of(schedules.hold_then_decay(0.4, t_max=5), 20)
    assert held[:5] == [0.4] * 5
    assert held[5:] == pytest.approx([0.4 * 5 / t for t in range(6, 21)])


METRICS = [3.0, 2.0, 2.0, 1.99999, 2.5, 1.0, 1.5, 1.5, 1.5, 1.5, 1.2, 1.1, 1.05, 0.5, 9, 9, 9, 9, 9]


@pytest.mark.parametrize(
    "options",
    [
        {}, {"patience": 0}, {"patience": 1, "cooldown": 2}, {"mode": "max", "patience": 1},
        {"patience": 2, "factor": 0.5, "threshold": 0.2}, {"patience": 0, "min_lr": 0.01},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_reduce_on_plateau_is_pytorchs(options, sign):
    metrics = [sign * metric for metric in METRICS]
    theirs = rates_of_torch(
        lambda s, o: s.ReduceLROnPlateau(o, **{"patience": 3, "eps": 0.0, **options}), len(metrics),
        metrics=metrics,
    )  # fmt: skip
    names = {"min_lr": "min_learning_rate"}
    schedule = schedules.reduce_on_plateau(
        0.5, **{"patience": 3, **{names.get(k, k): v for k, v in options.items()}}
    )
    state, ours = schedule.init(), []
    for step, metric in enumerate(metrics, start=1):
        ours.append(schedule(step, state))
        before = dict(state)
        new = schedule.observe(state, metric)
        assert state == before, "pure"
        state = new
    assert ours == pytest.approx(theirs, rel=1e-12)
    assert len(set(ours)) > 1, "the metrics are to cut the rate"


def test_a_plateau_takes_its_own_metric_among_several():
    loss = schedules.reduce_on_plateau(0.5, patience=0)
    accuracy = schedules.reduce_on_plateau(0.5, patience=0, mode="max", metric="accuracy")
    for schedule, expected in ((loss, 0.05), (accuracy, 0.5)):
        state = schedule.init()
        for epoch in (1, 2):  # both grow: good for the accuracy, bad for the loss
            state = schedule.observe(state, {"loss": epoch, "accuracy": epoch / 10})
        assert schedule(1, state) == pytest.approx(expected)
    with pytest.raises(UsageError, match="no 'accuracy' among loss"):
        accuracy.observe(accuracy.init(), {"loss": 1.0})


def test_a_plateau_under_a_warm_up_still_observes():
    schedule = schedules.linear_warmup(schedules.reduce_on_plateau(0.5, patience=0), steps=4)
    state = schedule.init()
    for metric in (1.0, 2.0):
        state = schedule.observe(state, metric)
    assert schedule(4, state) == pytest.approx(0.05)
    assert schedule(2, state) == pytest.approx(0.025)


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.constant(0), lambda: schedules.step_decay(0.1, every=0),
        lambda: schedules.step_decay(0.1, every=1, factor=0), lambda: schedules.cosine(-1.0, 5),
        lambda: schedules.cosine(0.1, 0), lambda: schedules.cosine(0.1, 5, final=-1),
        lambda: schedules.linear_warmup(0.1, 0), lambda: schedules.hold_then_decay(0.1, 0),
        lambda: schedules.linear_warmup(float("nan"), 3),
        lambda: schedules.reduce_on_plateau(0.1, factor=1.0),
        lambda: schedules.reduce_on_plateau(0.1, mode="least"),
    ],
)  # fmt: skip
def test_impossible_numbers_are_refused(make):
    with pytest.raises(UsageError):
        make()


ALL = [
    schedules.constant(0.1), schedules.step_decay(0.1, 2), schedules.cosine(0.1, 10),
    schedules.linear_warmup(0.1, 3), schedules.hold_then_decay(0.1, 4),
    schedules.reduce_on_plateau(0.1),
]  # fmt: skip


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: type(s).__name__)
def test_a_schedule_stands_wherever_a_rate_may(schedule):
    import agnostic_dl as adl

    optimizer = adl.optimizer("sgd", learning_rate=schedule)
    assert isinstance(optimizer, Optimizer)
    param = adl.get_backend("numpy").asarray([1.0])
    for step in (1, 2, 7):
        new, _ = adl.optim.step(optimizer, param, param, step=step)
        assert float(new[0]) == 1.0 - schedule(step)
    assert math.isfinite(schedule(10**6))


def test_a_plain_function_of_the_step_is_a_schedule_too():
    import agnostic_dl as adl

    optimizer = adl.optimizer("sgd", learning_rate=lambda step: 1.0 / step)
    engine = optim.Engine(optimizer)
    assert engine.learning_rate(engine.init(nn.Linear(1, 1).init(0).state_dict())) == 1.0
