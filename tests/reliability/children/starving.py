"""A run that runs out of memory. Arguments: FOLDER MODEL EXAMPLES HOW EXTRA_MB.

HOW is train, evaluate or predict. Exits as a command does; prints whether weights, optimizer state
and checkpoint are what they were.
"""

from __future__ import annotations

import resource
import sys

import numpy as np
from reliability_rows import common

import agnostic_dl as adl
from agnostic_dl.errors import AgnosticDLError


class Endless:
    """Images of noise, made when they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: object) -> tuple[np.ndarray, np.ndarray]:
        count = len(range(self.count)[rows] if isinstance(rows, slice) else rows)
        return np.full((count, 28, 28, 1), 0.5, np.float32), np.arange(count) % 10


def virtual() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def overeat(trainer: adl.Trainer, how: str, examples: int) -> None:
    if how == "train":
        trainer.fit(Endless(examples), epochs=1, batch_size=examples)
    elif how == "evaluate":
        trainer.evaluate(Endless(examples), batch_size=examples)
    else:
        trainer.predict(np.zeros((examples, 28, 28, 1), np.float32), batch_size=examples)


def main(folder: str, model: str, examples: int, how: str, extra: int) -> int:
    network = adl.models.create(model, input_shape=(28, 28, 1), classes=10)
    trainer = adl.Trainer(network, adl.optimizer("adam"), seed=1)
    trainer.fit(Endless(256), epochs=2, batch_size=64)  # starts every thread there will be
    trainer.save(folder)
    before, limit = common.fingerprint(trainer), virtual() + (extra << 20)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    code = 0
    try:
        overeat(trainer, how, examples)
    except AgnosticDLError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    trainer.position = None
    same = common.fingerprint(trainer) == before
    print(same, common.fingerprint(adl.Trainer.load(folder)) == before)
    return code


if __name__ == "__main__":
    folder, model, examples, how, extra = sys.argv[1:]
    sys.exit(main(folder, model, int(examples), how, int(extra)))
