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

    First *start* and ten times less and more; then on both sides of the best, in half decades, or
    further out where the best is the outermost.
    """
    left = budget - len(trials)
    if left <= 0:
        return []
    if not trials:
        return [start, start * _FAR, start / _FAR][:left]
    best = best_rate(trials)
    tried = sorted(trial.rate for trial in trials)
    near = [best * _NEAR, best / _NEAR]
    if best == tried[0]:
        near = [best / _NEAR, best / _FAR]
    elif best == tried[-1]:
        near = [best * _NEAR, best * _FAR]
    new = [rate for rate in near if not any(math.isclose(rate, t, rel_tol=0.05) for t in tried)]
    if not new:  # refine: quarter decades
        new = [best * math.sqrt(_NEAR), best / math.sqrt(_NEAR)]
        new = [rate for rate in new if not any(math.isclose(rate, t, rel_tol=0.05) for t in tried)]
    return new[:left]


def best_rate(trials: Sequence[Trial]) -> float:
    """The rate of the least loss; where all diverged, the smallest rate."""
    finite = [trial for trial in trials if math.isfinite(trial.loss)]
    if not finite:
        return min(trial.rate for trial in trials)
    return min(finite, key=lambda trial: trial.loss).rate
