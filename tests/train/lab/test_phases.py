"""Phases of losses whose phases are known."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from agnostic_dl.train.lab import words
from agnostic_dl.train.lab.phases import Phase, find_phases, smoothed


def phases(losses):
    return [(p.name, p.first, p.last) for p in find_phases(range(1, len(losses) + 1), losses)]


def test_warm_up_descent_and_plateau():
    flat, fall, rest = [2.0] * 20, [2.0 - 0.04 * k for k in range(41)], [0.4] * 60
    found = phases(flat + fall + rest)
    assert [name for name, _, _ in found] == ["warm-up", "descent", "plateau"]
    assert 20 <= found[0][2] <= 27  # a tenth of the fall is done 4 steps into it
    assert 54 <= found[1][2] <= 61  # and nine tenths after 36
    assert found[0][1] == 1
    assert found[2][2] == 121
    assert [b[1] - a[2] for a, b in pairwise(found)] == [1, 1]


def test_a_run_that_ends_in_its_descent_has_no_plateau():
    assert [name for name, _, _ in phases([2.0 - 0.01 * k for k in range(150)])] == [
        "warm-up", "descent"
    ]  # fmt: skip


def test_noise_does_not_end_a_phase():
    noisy = [
        2 * math.exp(-k / 40) + 0.2 * math.sin(7.0 * k) * math.exp(-k / 40) for k in range(400)
    ]
    quiet = [2 * math.exp(-k / 40) for k in range(400)]
    for a, b in zip(phases(noisy), phases(quiet), strict=True):
        assert a[0] == b[0]
        assert abs(a[2] - b[2]) <= 12


@pytest.mark.parametrize(
    ("losses", "name"), [([1.0] * 9, "plateau"), ([1.0 + k for k in range(9)], "rise")]
)
def test_a_loss_that_does_not_fall(losses, name):
    assert [phase[0] for phase in phases(losses)] == [name]


def test_first_steps_that_are_too_large():
    """As AdaGrad's on a deep network: up by orders of magnitude, back, and only then down."""
    burst = [2.3, 90.0, 200.0, 60.0, 9.0, 4.0]
    found = phases([*burst, *(2.3 - 0.02 * k for k in range(100))])
    assert found[0] == ("rise", 1, 6)
    assert found[1][:2] == ("warm-up", 7)
    assert found[2][0] == "descent"
    assert phases([2.3, 90.0, 200.0, 300.0, 400.0, 500.0])[0][0] == "rise"


def test_few_losses():
    assert phases([]) == []
    assert phases([1.0]) == [("plateau", 1, 1)]
    assert phases([1.0, 0.5])[0][1] == 1


def test_smoothing_removes_one_odd_batch():
    assert max(smoothed([1.0] * 50 + [9.0] + [1.0] * 50)) == 1.0


def test_words_hold_the_numbers():
    rows = [{"step": s, "gradient_norm": g, "update_to_weight": 0.01, "sign_agreement": 0.75,
             "m_over_sqrt_v_p50": 0.9, "shadow_sgd_cosine": 0.5, "shadow_sgd_size": 3.0}
            for s, g in ((1, 1.0), (2, 3.0), (3, 2.0), (9, 99.0))]  # fmt: skip
    steps = [{"step": s, "bias_correction_1": 1 - 0.9**s, "bias_correction_2": 1 - 0.999**s,
              "learning_rate": 0.1} for s in (1, 3)]  # fmt: skip
    found = words.numbers(Phase("descent", 1, 3, 2.0, 1.0), rows, steps)
    assert found["gradient_norm"] == 2.0
    assert found["looks"] == 3
    text = words.sentences(found)
    for part in ("Steps 1 to 3", "from 2 to 1", "norm is 2;", "1 %", "75 % of the gradients",
                 "0.90", "0.001 to 0.003", "sgd (cosine 0.50, 3 times"):  # fmt: skip
        assert part in text, part
