"""Saving while training: a callback that keeps checkpoints, and a polite end on signals."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnostic_dl.errors import UsageError
from agnostic_dl.train.callback import Callback

if TYPE_CHECKING:
    from agnostic_dl.train.trainer import Trainer


class Checkpoints(Callback):
    """Saves the run at *path* after every epoch, when it is stopped, and in between as asked.

    *every_steps*: also after that many steps; *every_minutes*: also when that much time has passed
    since the last save. Each save replaces the last and keeps one generation before it.
    """

    def __init__(
        self, path: str | Path, *, every_steps: int | None = None,
        every_minutes: float | None = None,
    ) -> None:  # fmt: skip
        for name, value in (("every_steps", every_steps), ("every_minutes", every_minutes)):
            if value is not None and not value > 0:
                raise UsageError(f"{name}: expected a positive number, got {value!r}")
        self.path, self.every_steps, self.every_minutes = Path(path), every_steps, every_minutes
        self._saved_at = time.monotonic()
        self._count = 0

    def on_fit_start(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        """The clock of *every_minutes* starts."""
        self._saved_at = time.monotonic()
        self._count = trainer.step.count

    def on_step_end(self, trainer: Trainer, step: int, count: int, loss: float) -> None:
        """Save if it is time."""
        moved, self._count = trainer.step.count != self._count, trainer.step.count
        by_steps = self.every_steps and moved and self._count % self.every_steps == 0
        waited = time.monotonic() - self._saved_at
        if by_steps or (self.every_minutes and waited >= 60 * self.every_minutes):
            self.save(trainer)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """Save."""
        self.save(trainer)

    def on_stop(self, trainer: Trainer) -> None:
        """Save, so that nothing of what was computed is lost."""
        if trainer.step.count:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Save now, and count the minutes from here."""
        trainer.save(self.path)
        self._saved_at = time.monotonic()


class Received:
    """The first signal that came, and the exit code that says so."""

    number: int | None = None

    @property
    def exit_code(self) -> int | None:
        """128 plus the signal's number, as shells have it: 130 for Ctrl-C; None: none came."""
        return None if self.number is None else 128 + self.number


@contextmanager
def stop_on_signals(
    trainer: Trainer, numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
) -> Iterator[Received]:
    """In this context Ctrl-C and a request to terminate stop *trainer* at the next step.

    The handler only leaves a note, so no save is ever interrupted and a second signal does no harm.
    For the main thread, as signals are.
    """
    received = Received()

    def note(number: int, frame: Any) -> None:
        received.number = received.number or number
        trainer.request_stop()

    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        trainer.stop_requested = False
