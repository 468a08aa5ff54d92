"""What every candidate makes of a row: a step to time, and one to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """*run*: one step, and back when it is done. *look*: one step, and the number to compare.

    That is the loss before the update; of an update alone, the way that the parameters have gone.
    *program*: what the step costs, where the candidate knows it.
    """

    run: Callable[[], Any]
    look: Callable[[], float]
    program: Callable[[], Any] | None = None


def of_loss(loss: Callable[[], float], program: Callable[[], Any] | None = None) -> Step:
    """A training step that returns its loss as a Python number, and has ended by then."""
    return Step(loss, loss, program)


def of_update(update: Callable[[], Any], gone: Callable[[], float],
              program: Callable[[], Any] | None = None) -> Step:  # fmt: skip
    """An update, and how far it has gone since the start."""

    def look() -> float:
        update()
        return gone()

    return Step(update, look, program)
