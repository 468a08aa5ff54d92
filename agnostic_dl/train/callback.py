"""Callback: what watches a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agnostic_dl.train.trainer import Trainer


class Callback:
    """Base of what watches a training run: override what is needed."""

    def on_fit_start(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        """Before the first step."""

    def on_step_end(self, trainer: Trainer, step: int, count: int, loss: float) -> None:
        """After a step: its number in the epoch (from 1), examples in it, its loss."""

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """After an epoch and its validation: the new row of the history."""

    def on_stop(self, trainer: Trainer) -> None:
        """After the last step of a run that `trainer.request_stop()` has ended."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last step, also when training was interrupted by an error."""
