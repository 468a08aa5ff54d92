"""Ten thousand steps, watched for leaks. Arguments: STEPS GC (on or off).

Prints JSON: growth of the resident memory in bytes per step from a tenth of the steps on, and the
number of open files before and after.
"""

from __future__ import annotations

import gc
import json
import sys

import numpy as np
from reliability_rows import common

import agnostic_dl as adl
from agnostic_dl.train import Callback


class Watch(Callback):
    """Samples of (step, resident bytes)."""

    def __init__(self) -> None:
        self.samples: list[tuple[int, int]] = []

    def on_step_end(self, trainer: adl.Trainer, step: int, count: int, loss: float) -> None:
        if trainer.step.count % 50 == 0:
            self.samples.append((trainer.step.count, common.resident()))


def main(steps: int, collect: bool) -> dict:
    if not collect:
        gc.disable()
    trainer, watch = common.trainer(), Watch()
    examples = 4 * (steps // 10)
    files = common.open_files()
    trainer.fit(common.data(examples), epochs=10, batch_size=4, callbacks=[watch])
    late = np.array([s for s in watch.samples if s[0] >= steps // 10], dtype=float)
    slope = float(np.polyfit(late[:, 0], late[:, 1], 1)[0])
    return {"slope": slope, "files": [files, common.open_files()], "steps": trainer.step.count}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), sys.argv[2] == "on")))
