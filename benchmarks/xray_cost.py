"""What the X-ray costs at its default sampling, as a share of the training step.

    python benchmarks/xray_cost.py [--models mlp,lenet] [--rounds 15]

Two copies of a model train on the same batches, one watched; blocks of 20 steps, each with one full
look, alternate between the two in an order that alternates as well. The figure is the median over
the rounds of the ratio of two neighbouring blocks.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import agnostic_dl as adl
from agnostic_dl.train import XRay

BATCH = 128


def steps(name: str, optimizer: str) -> tuple[adl.train.TrainStep, adl.train.TrainStep, XRay]:
    made = []
    for _ in range(2):
        shape = (32, 32, 3) if name in ("adam-paper-cnn", "resnet20") else (28, 28, 1)
        model = adl.models.create(name, input_shape=shape, classes=10).init(0)
        made.append(adl.train_step(model, "cross_entropy", adl.optimizer(optimizer), capture=False))
    xray = XRay()
    xray.attach(made[1])
    return made[0], made[1], xray


def block(step: adl.train.TrainStep, batches: list, count: int) -> float:
    started = time.perf_counter()
    for k in range(count):
        float(step(*batches[k % len(batches)]))
    return time.perf_counter() - started


def measure(name: str, optimizer: str, rounds: int) -> tuple[float, float, float]:
    """Milliseconds of a plain step; median and largest quartile of the ratio watched / plain."""
    plain, watched, xray = steps(name, optimizer)
    draw = np.random.default_rng(0)
    shape = (32, 32, 3) if name in ("adam-paper-cnn", "resnet20") else (28, 28, 1)
    batches = [
        (draw.random((BATCH, *shape), dtype=np.float32), draw.integers(0, 10, BATCH))
        for _ in range(4)
    ]
    for step in (plain, watched):
        block(step, batches, xray.every)  # warm up, and past the dense looks of the beginning
    ratios, times = [], []
    for k in range(rounds):
        order = (plain, watched) if k % 2 else (watched, plain)
        took = {step: block(step, batches, xray.every) for step in order}
        ratios.append(took[watched] / took[plain])
        times.append(took[plain] / xray.every)
    for ours, theirs in zip(plain.model.state_dict().values(),
                            watched.model.state_dict().values(), strict=True):  # fmt: skip
        assert np.array_equal(ours, theirs), "watching changed the run"
    upper = statistics.quantiles(ratios, n=4)[2]
    return 1e3 * statistics.median(times), statistics.median(ratios), upper


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="linear,mlp,lenet")
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(f"{'model':<16}{'step':>10}{'X-ray, median':>16}{'upper quartile':>17}")
    for name in options.models.split(","):
        plain, ratio, upper = measure(name, options.optimizer, options.rounds)
        print(
            f"{name:<16}{plain:>7.2f} ms{100 * (ratio - 1):>+14.1f} %{100 * (upper - 1):>+15.1f} %"
        )


if __name__ == "__main__":
    main()
