"""The search for a learning rate: the same number of equally long trials for every optimizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_FAR, _NEAR = 10.0, math.sqrt(10.0)


@dataclass(frozen=True)
class Trial:
    """A learning rate and the validation loss that it led to; infinite if the run diverged."""

    rate: float
    loss: float


def next_rates(start: float, trials: Sequence[Trial], budget: int) -> list[float]:
    """The rates to try next, none when the budget is spent.

    First *start* and ten times more and less; then further out where the best is the outermost, or
    on both sides of it, by half a decade and then by ever less.
    """
    left = budget - len(trials)
    if left <= 0:
        return []
    if not trials:
        return [start, start * _FAR, start / _FAR][:left]
    best = best_rate(trials)
    tried = sorted(trial.rate for trial in trials)
    if best == tried[0]:
        return [best / _NEAR, best / _FAR][:left]
    if best == tried[-1]:
        return [best * _NEAR, best * _FAR][:left]
    gap = _NEAR
    new: list[float] = []
    while not new:
        new = [r for r in (best * gap, best / gap) if not any(_close(r, t) for t in tried)]
        gap = math.sqrt(gap)
    return new[:left]


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6)


def best_rate(trials: Sequence[Trial]) -> float:
    """The rate of the least loss; where all diverged, the smallest rate."""
    finite = [trial for trial in trials if math.isfinite(trial.loss)]
    if not finite:
        return min(trial.rate for trial in trials)
    return min(finite, key=lambda trial: trial.loss).rate
