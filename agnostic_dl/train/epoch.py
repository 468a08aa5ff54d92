"""One epoch: its batches in their order, from wherever it had come to, then its validation."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from agnostic_dl.errors import NonFiniteError
from agnostic_dl.train import batches, memory
from agnostic_dl.train.position import Position

if TYPE_CHECKING:
    from agnostic_dl.train.trainer import Callback, Trainer


class Epoch:
    """The epoch under way of a trainer; where it stands is the trainer's `position`."""

    def __init__(
        self, trainer: Trainer, source: Any, batch_size: int, watchers: Iterable[Callback]
    ) -> None:
        self.trainer, self.source, self.batch_size = trainer, source, batch_size
        self.watchers, self.number = list(watchers), len(trainer.history) + 1
        if trainer.position is None:
            rate = trainer.step.learning_rate
            trainer.position = Position(batch_size, len(source), rate)
        trainer.position.require(batch_size, len(source), self.number)
        self.position = trainer.position

    def train(self) -> bool:
        """Make the steps that are left; False if a stop was requested before the last."""
        trainer = self.trainer
        order = batches.shuffled(trainer.backend, trainer.seed, self.number, len(self.source))
        parts = batches.slices(len(self.source), self.batch_size)
        for part in islice(parts, self.position.batches, None):
            if trainer.stop_requested:
                return False
            loss, count = self._step(order[part])
            trainer.running = self.position.means(trainer.measured)
            for watcher in self.watchers:
                watcher.on_step_end(trainer, self.position.batches, count, loss)
        return not trainer.stop_requested

    def _step(self, rows: Any) -> tuple[float, int]:
        """One step on the examples of these rows: its loss, and how many they are."""
        trainer, started = self.trainer, time.perf_counter()
        where = f"epoch {self.number}, batch {self.position.batches + 1}"
        try:
            with memory.guarded(where, len(rows), self.source):
                x, y = self.source[rows]
                loss, outputs = trainer.step.run(x, trainer.backend.asarray(y))
                values = [float(loss), *trainer.measure(outputs, trainer.backend.asarray(y))]
        except NonFiniteError as error:
            raise NonFiniteError(f"{where}: {error}") from error
        self.position.add(values, len(y), time.perf_counter() - started)
        return values[0], len(y)

    def row(self) -> dict[str, float]:
        """The epoch's row of the history, as far as its training goes."""
        trainer, position = self.trainer, self.position
        return {
            "epoch": self.number,
            "step": trainer.step.count,
            **position.means(trainer.measured),
        }

    def ending(self) -> dict[str, float]:
        """The row's last columns: learning rate and speed."""
        seconds = self.position.seconds
        return {
            "learning_rate": self.position.learning_rate,
            "seconds": seconds,
            "images_per_second": self.position.examples / seconds,
        }
