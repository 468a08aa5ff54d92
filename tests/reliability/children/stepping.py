"""Ten thousand steps, watched for leaks. Arguments: STEPS GC (on or off).

Prints JSON: growth of the resident memory from a tenth of the steps on, in bytes per step and in
all, and the number of open files before and after. The slope is Theil and Sen's, the median of the
slopes between any two samples: the allocator still grows in a few jumps at first, which a line of
least squares would spread over all steps.
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
    """Samples of (step, resident bytes), in a table that does not grow itself."""

    def __init__(self, steps: int) -> None:
        self.samples, self.count = np.zeros((steps // 50, 2)), 0

    def on_step_end(self, trainer: adl.Trainer, step: int, count: int, loss: float) -> None:
        if trainer.step.count % 50 == 0:
            self.samples[self.count] = trainer.step.count, common.resident()
            self.count += 1


def main(steps: int, collect: bool) -> dict:
    if not collect:
        gc.disable()
    trainer, watch = common.trainer(), Watch(steps)
    examples = 4 * (steps // 20)  # a new epoch is seen before the first tenth is over
    files = common.open_files()
    trainer.fit(common.data(examples), epochs=20, batch_size=4, callbacks=[watch])
    late = watch.samples[watch.samples[:, 0] >= steps // 10]
    first, second = np.triu_indices(len(late), 1)
    steps_between, grown = (late[second] - late[first]).T
    return {
        "slope": float(np.median(grown / steps_between)),
        "grown": float(late[-1, 1] - late[0, 1]),
        "files": [files, common.open_files()],
        "steps": trainer.step.count,
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), sys.argv[2] == "on")))
