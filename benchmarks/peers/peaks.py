"""How fast this machine is at best: products of matrices, and a triad over the memory.

python -m peers.peaks THREADS
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

SIDE = 2048
#: Elements of each of the triad's arrays: 64 MB, above any cache.
LENGTH = 1 << 24
#: Elements of a piece, which stays in the nearest cache but one between its two passes.
PIECE = 1 << 14


def best(task: Callable[[], Any], seconds: float = 1.5) -> float:
    """The shortest of the runs that fit into so many seconds."""
    begun, found = time.perf_counter(), float("inf")
    while time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        task()
        found = min(found, time.perf_counter() - started)
    return found


def products() -> dict[str, float]:
    """GFLOP/s of a large float32 product by each library that is installed."""
    left, right = (np.ones((SIDE, SIDE), np.float32) for _ in range(2))
    out = np.empty_like(left)
    tasks = {"NumPy": lambda: np.matmul(left, right, out=out)}
    if importlib.util.find_spec("torch") is not None:
        import torch

        one, two, three = (torch.from_numpy(array) for array in (left, right, out))
        tasks["PyTorch"] = lambda: torch.mm(one, two, out=three)
    return {name: 2 * SIDE**3 / best(task) / 1e9 for name, task in tasks.items()}


def triad(threads: int) -> float:
    """GB/s of a = b + s · c: three arrays' bytes, as STREAM counts them.

    Source: McCalpin, "Memory Bandwidth and Machine Balance in Current High Performance Computers",
    IEEE TCCA Newsletter, 1995.
    """
    a, b, c = (np.ones(LENGTH, np.float32) for _ in range(3))
    scratch = [np.empty(PIECE, np.float32) for _ in range(threads)]

    def part(k: int) -> None:
        for start in range(LENGTH * k // threads, LENGTH * (k + 1) // threads, PIECE):
            piece = slice(start, start + PIECE)
            scaled = np.multiply(c[piece], np.float32(3), out=scratch[k][: c[piece].size])
            np.add(b[piece], scaled, out=a[piece])

    with ThreadPoolExecutor(threads) as pool:
        return 12 * LENGTH / best(lambda: list(pool.map(part, range(threads)))) / 1e9


def main(threads: str) -> None:
    """Print both as JSON."""
    from peers.worker import confine

    confine()
    speed = triad(int(threads))  # first: no product's threads are left spinning
    found = products()
    by = max(found, key=lambda name: found[name])
    print(json.dumps({"gflops": found[by], "gflops_by": by, "products": found, "gbytes": speed}),
          flush=True)  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
