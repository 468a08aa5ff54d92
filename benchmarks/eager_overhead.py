"""What a small operation costs: forward and backward of chains, in four libraries, interleaved.

    python benchmarks/eager_overhead.py [--operations 1000] [--rounds 15]

Each round times every library once, in turn, so that a slow moment of the machine hits all of
them; the median over the rounds is printed, in microseconds for each operation. A library that is
not installed is left out. `--profile` prints where agnostic_dl spends its time.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

START = np.linspace(0.1, 0.9, 8)


def chain(x: Any, c: Any, tanh: Callable[[Any], Any], operations: int) -> Any:
    """*operations* small operations one after the other: a product, a sum, a tanh, a difference."""
    for _ in range(operations // 4):
        x = tanh(x * c + x) - c
    return x


def ours(operations: int) -> Callable[[], Any]:
    import agnostic_dl as adl

    xp = adl.namespace("numpy")
    c = adl.Tensor(np.full(8, 0.9))

    def run() -> Any:
        x = adl.Tensor(START, requires_grad=True)
        xp.sum(chain(x, c, xp.tanh, operations)).backward()
        return x.grad.data

    return run


def ours_functional(operations: int) -> Callable[[], Any]:
    import agnostic_dl as adl

    xp = adl.namespace("numpy")
    c = adl.Tensor(np.full(8, 0.9))
    gradient = adl.grad(lambda x: xp.sum(chain(x, c, xp.tanh, operations)))
    return lambda: gradient(START)


def hips(operations: int) -> Callable[[], Any]:
    import autograd
    import autograd.numpy as anp

    c = np.full(8, 0.9)
    gradient = autograd.grad(lambda x: anp.sum(chain(x, c, anp.tanh, operations)))
    return lambda: gradient(START)


def mygrad(operations: int) -> Callable[[], Any]:
    import mygrad as mg

    c = np.full(8, 0.9)

    def run() -> Any:
        x = mg.tensor(START)
        mg.sum(chain(x, c, mg.tanh, operations)).backward()
        return x.grad

    return run


def torch(operations: int) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(1)
    c = torch.full((8,), 0.9, dtype=torch.float64)

    def run() -> Any:
        x = torch.tensor(START, requires_grad=True)
        torch.sum(chain(x, c, torch.tanh, operations)).backward()
        return x.grad.numpy()

    return run


def numpy_forward(operations: int) -> Callable[[], Any]:
    c = np.full(8, 0.9)
    return lambda: np.sum(chain(START, c, np.tanh, operations))


CONTESTANTS = {
    "agnostic_dl .backward()": ours,
    "agnostic_dl grad": ours_functional,
    "HIPS autograd": hips,
    "MyGrad": mygrad,
    "PyTorch eager": torch,
    "NumPy, forward only": numpy_forward,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    runs = {}
    for name, make in CONTESTANTS.items():
        try:
            runs[name] = make(options.operations)
        except ImportError as error:
            print(f"{name}: left out ({error})")
    if options.profile:
        profiler = cProfile.Profile()
        profiler.enable()
        for _ in range(20):
            runs["agnostic_dl .backward()"]()
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(18)
        return
    results = {name: run() for name, run in runs.items()}
    reference = results["agnostic_dl .backward()"]
    for name, result in results.items():
        if name != "NumPy, forward only":
            np.testing.assert_allclose(result, reference, rtol=1e-10, err_msg=name)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) / options.operations * 1e6)
    ours_median = statistics.median(times["agnostic_dl .backward()"])
    print(f"{options.operations} operations on 8 numbers, {options.rounds} interleaved rounds")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:26s} {median:7.2f} µs per operation   ×{median / ours_median:.2f}")


if __name__ == "__main__":
    main()
