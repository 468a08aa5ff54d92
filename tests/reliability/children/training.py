"""A training run that gets hurt: trains into FOLDER, resuming what lies there, and says what came.

Arguments: FOLDER EPOCHS EVERY_STEPS STEP_SECONDS SAVE_SECONDS. The last two slow a step and a save
down, so that a signal has something to hit.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from reliability_rows import common

import agnostic_dl as adl
from agnostic_dl.errors import CheckpointError
from agnostic_dl.train import Callback, Checkpoints, checkpoint, stop_on_signals, storage


class Slow(Callback):
    """Steps that take their time, and a word once the first is done."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.said = seconds, False

    def on_step_end(self, trainer: adl.Trainer, step: int, count: int, loss: float) -> None:
        if not self.said:
            print("training", flush=True)
            self.said = True
        time.sleep(self.seconds)


def slow_down_saves(seconds: float) -> None:
    """Write in little pieces and pause before each change on the disk."""
    storage.CHUNK = 1 << 12
    for name in ("write", "fsync", "link", "replace"):
        plain = getattr(os, name)

        def slow(*arguments, plain=plain, **options):
            time.sleep(seconds)
            return plain(*arguments, **options)

        setattr(os, name, slow)


def main(folder: Path, epochs: int, every: int, step_seconds: float, save_seconds: float) -> int:
    try:
        trainer = adl.Trainer.load(folder)
        checkpoint.sweep(folder)
    except CheckpointError:
        trainer = common.trainer()
    if save_seconds:
        slow_down_saves(save_seconds)
    left = epochs - len(trainer.history)
    watchers = [Slow(step_seconds), Checkpoints(folder, every_steps=every)]
    with stop_on_signals(trainer) as received:
        if left > 0:
            trainer.fit(common.data(), common.data(seed=1), left, 16, callbacks=watchers)
        else:
            print("training", flush=True)
    print(common.fingerprint(trainer), flush=True)
    return received.exit_code or 0


if __name__ == "__main__":
    folder, epochs, every, step_seconds, save_seconds = sys.argv[1:]
    sys.exit(main(Path(folder), int(epochs), int(every), float(step_seconds), float(save_seconds)))
