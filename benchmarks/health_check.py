"""What the check for NaN and infinity costs: ``python benchmarks/health_check.py [MODEL...]``.

Steps with the check and without take turns; printed are the share of a step's time that the check
itself takes (medians) and the difference between the two kinds of steps, which is noisier.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import agnostic_dl as adl
from agnostic_dl.train import health

MODELS = ("lenet", "mlp", "resnet20")


def cost(model: str, pairs: int, batch: int = 128) -> tuple[float, float, float]:
    """Share of the check in a step, relative difference of steps, milliseconds of a step."""
    generator = np.random.default_rng(0)
    x = generator.random((batch, 28, 28, 1), dtype=np.float32)
    y = generator.integers(0, 10, batch)
    network = adl.models.create(model, input_shape=(28, 28, 1), classes=10)
    step = adl.train_step(network, "cross_entropy", adl.optimizer("adam"), capture=False)
    checks: list[float] = []
    plain = health.require_finite

    def timed(*arguments: Any) -> None:
        started = time.perf_counter()
        plain(*arguments)
        checks.append(time.perf_counter() - started)

    health.require_finite = timed
    try:
        times = {True: [], False: []}
        for number in range(2 * pairs + 4):
            step.check = number % 2 == 0
            seconds = _seconds(lambda: float(step(x, y)))
            if number >= 4:
                times[step.check].append(seconds)
    finally:
        health.require_finite = plain
    with_check, without = (statistics.median(times[kind]) for kind in (True, False))
    return statistics.median(checks) / without, with_check / without - 1, 1e3 * without


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        share, difference, milliseconds = cost(name, 4 if name == "resnet20" else 20)
        print(
            f"{name}: {100 * share:.2f} % of a step of {milliseconds:.1f} ms (steps with the check "
            f"against steps without, in turns: {100 * difference:+.1f} %)"
        )
