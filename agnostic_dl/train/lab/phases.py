"""Phases of a run, found in its losses: warm-up, descent, plateau."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

WARM_UP, DESCENT, PLATEAU, RISE = "warm-up", "descent", "plateau", "rise"

#: Shares of the whole fall of the loss: where the warm-up ends, and where the descent does.
_BEGUN, _DONE = 0.1, 0.9
#: A plateau falls at most at this share of the descent's speed.
_SLOW = 0.2
#: A fall of less than this share of the first loss is none.
_NOTHING = 0.02
#: A loss that soon grows by more than this factor has burst: the first steps were too large.
_FAR = 1.5


@dataclass(frozen=True)
class Phase:
    """Steps *first* to *last*, both included, and the smoothed loss at their ends."""

    name: str
    first: int
    last: int
    loss_before: float
    loss_after: float

    @property
    def length(self) -> int:
        """How many steps."""
        return self.last - self.first + 1


def smoothed(losses: Sequence[float]) -> list[float]:
    """A running mean of a running median: one odd batch moves nothing, a trend stays."""
    half = max(len(losses) // 80, 1) if len(losses) >= 8 else 0
    return _running(_running(list(losses), half, median), half, fmean)


def _running(values: list[float], half: int, of: object) -> list[float]:
    assert callable(of)
    return [
        of(values[max(k - half, 0) : k + half + 1]) for k in range(len(values))
    ]  # at the ends the window is cut


def find_phases(steps: Sequence[int], losses: Sequence[float]) -> list[Phase]:
    """The phases of a loss per step: at most warm-up, descent and plateau, in that order.

    With F the fall of the smoothed loss from its beginning to its least value: the warm-up ends
    where a tenth of F is done; the descent where nine tenths are, if from there on the loss falls
    at less than a fifth of the descent's speed (otherwise the run ended in its descent). A loss
    that does not fall is a plateau, one that ends well above its beginning a rise; so is the
    beginning of a run whose first steps throw the loss far up, until it is back.
    """
    curve = [loss for loss in losses if math.isfinite(loss)]
    count = min(len(curve), len(steps))
    if count == 0:
        return []
    back = _burst(curve[:count])
    if 0 < back < count:
        first = Phase(RISE, int(steps[0]), int(steps[back - 1]), curve[0], curve[back - 1])
        return [first, *find_phases(steps[back:count], curve[back:count])]
    curve = smoothed(curve[:count])
    fall = curve[0] - min(curve)
    if fall <= _NOTHING * abs(curve[0]):
        name = RISE if curve[-1] > curve[0] * (1 + _NOTHING) else PLATEAU
        return _cut(steps, curve, [(name, 0, count)])
    begun = next(k for k, value in enumerate(curve) if curve[0] - value >= _BEGUN * fall)
    done = next(k for k, value in enumerate(curve) if curve[0] - value >= _DONE * fall)
    if not _flat(curve, begun, done):
        done = count - 1
    parts = [(WARM_UP, 0, begun), (DESCENT, begun, done + 1), (PLATEAU, done + 1, count)]
    return _cut(steps, curve, parts)


def _burst(losses: list[float]) -> int:
    """How many steps it takes a loss that soon rises far above its beginning to come back."""
    soon = losses[: max(len(losses) // 4, 2)]
    if max(soon) <= _FAR * losses[0]:
        return 0
    top = soon.index(max(soon))
    return next((k for k in range(top, len(losses)) if losses[k] <= _FAR * losses[0]), 0)


def _flat(curve: list[float], begun: int, done: int) -> bool:
    """Whether the loss after *done* falls much more slowly than between *begun* and *done*."""
    rest = len(curve) - 1 - done
    if rest < max(len(curve) // 20, 1):
        return False
    before = (curve[max(begun - 1, 0)] - curve[done]) / max(done - begun + 1, 1)
    return (curve[done] - curve[-1]) / rest < _SLOW * before


def _cut(
    steps: Sequence[int], curve: list[float], parts: list[tuple[str, int, int]]
) -> list[Phase]:
    return [
        Phase(name, int(steps[begin]), int(steps[end - 1]), curve[begin], curve[end - 1])
        for name, begin, end in parts
        if end > begin
    ]
