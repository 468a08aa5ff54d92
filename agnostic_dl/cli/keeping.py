"""Keeping a run safe while it trains: when it is saved, and how it ends when it is told to."""

from __future__ import annotations

import re
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from agnostic_dl.cli import artefacts
from agnostic_dl.cli import run_folder as runs
from agnostic_dl.data.paths import show
from agnostic_dl.errors import UsageError
from agnostic_dl.train import Checkpoints, Trainer, stop_on_signals
from agnostic_dl.train.saving import Received

_EVERY = re.compile(r"(\d+(?:\.\d+)?) *(s|sec|min|m|h)?")
_MINUTES = {"s": 1 / 60, "sec": 1 / 60, "min": 1.0, "m": 1.0, "h": 60.0}


def how_often(text: str) -> dict[str, Any]:
    """What `Checkpoints` takes, of "500" (steps), "90s" or "10min"."""
    match = _EVERY.fullmatch(text.strip().lower())
    number = float(match[1]) if match else 0.0
    if match is None or number <= 0 or (match[2] is None and number != int(number)):
        raise UsageError(
            f"--checkpoint-every: expected steps (500) or a time (90s, 10min, 1h), got {text!r}"
        )
    if match[2] is None:
        return {"every_steps": int(number)}
    return {"every_minutes": number * _MINUTES[match[2]]}


class Keeper(Checkpoints):
    """The checkpoints of a run's folder, with its history as CSV after every epoch."""

    def __init__(self, folder: Path, every: str, *, replace: bool, saved: str = "") -> None:
        super().__init__(folder, **how_often(every))
        self.replace, self.saved = replace, saved

    def save(self, trainer: Trainer) -> None:
        """Save; the first time, clear away what the run replaces."""
        if self.replace:
            runs.clear(self.path)
            self.replace = False
        super().save(trainer)
        self.saved = progress(trainer)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """Save, and write the history."""
        super().on_epoch_end(trainer, row)
        artefacts.write_history(self.path, trainer.history)

    def kept(self) -> str:
        """What of the run is safe, in words."""
        if not self.saved:
            return "no epoch was finished and nothing was saved"
        return f"{self.saved} is kept in {show(self.path)}: continue it with --resume"


def progress(trainer: Trainer) -> str:
    """How far a run has come: "epoch 3", "epoch 4 up to batch 17"; empty: it has not begun."""
    position, done = trainer.position, len(trainer.history)
    if position is not None and position.batches:
        return f"epoch {done + 1} up to batch {position.batches}"
    return f"epoch {done}" if done else ""


def signals(trainer: Trainer) -> AbstractContextManager[Received]:
    """Stop at the next step on Ctrl-C or a request to terminate, where signals can be met."""
    if threading.current_thread() is threading.main_thread():
        return stop_on_signals(trainer)
    return nullcontext(Received())
