"""Beside the rows: time for an image, memory, start-up, and the share of the machine's bound."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from peers.candidates import PEERS, in_row, kernels_of
from peers.processes import HERE, CandidateFailed, Worker, environment
from peers.rows import ROWS
from peers.verdicts import block

BATCHES = (32, 128, 512)
#: What a user writes to take one step; ends the moment that the loss is there.
FIRST_STEP = """
import numpy as np
import agnostic_dl as adl
adl.use_backend("numpy", kernels={kernels!r})
model = adl.models.create("lenet", input_shape=(28, 28, 1), classes=10)
step = adl.train_step(model, "cross_entropy", adl.optimizer("adam"))
float(step(np.ones((128, 28, 28, 1), np.float32), np.zeros(128, np.int64)))
"""


#: Rounds of the time for an image: what it must not do is grow, and that shows in three.
ROUNDS = 3


def measure(ours: Sequence[str], peers: Sequence[str], rows: Sequence[dict[str, Any]],
            seconds: float, threads: int) -> dict[str, Any]:  # fmt: skip
    """All of them; *rows*: what the comparison found, for the shares of the bound."""
    peaks = answer_of("peers.peaks", str(threads), threads=threads)
    return {
        "per_image_us": {
            "batches": [str(batch) for batch in BATCHES],
            "entries": [
                {"row": key, "candidate": name,
                 "us": per_image(name, key, seconds, threads)}
                for key in ("W2", "W3") for name in ours
            ],
        },
        "memory": memory("W3", [*ours, *in_row(list(peers), ROWS["W3"])], threads),
        "import_ms": import_time(),
        "cold_start_seconds": {name: cold_start(name, threads) for name in ours},
        "peaks": peaks,
        "roofline": roofline(rows, peaks),
    }  # fmt: skip


def answer_of(module: str, *arguments: str, threads: int) -> Any:
    """What a module that answers once says."""
    with Worker(module, *arguments, threads=threads) as worker:
        return worker.answer()


def per_image(name: str, key: str, seconds: float, threads: int) -> list[float]:
    """Microseconds for an image in batches of each size, asked in turn."""
    times: list[list[float]] = [[] for _ in BATCHES]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker("peers.worker", name, key, str(batch), threads=threads))
            for batch in BATCHES
        ]
        for worker in workers:
            worker.answer()
            worker.ask("look 2")
        for _ in range(ROUNDS):
            for kept, worker in zip(times, workers, strict=True):
                kept.append(block(worker.ask(f"time {seconds}")))
    return [1e6 * statistics.median(kept) / n for kept, n in zip(times, BATCHES, strict=True)]


def memory(key: str, names: Sequence[str], threads: int) -> dict[str, Any]:
    """Peak MB of a step above the imported libraries; of peers with their own optimizer only."""
    found: dict[str, dict[str, float] | None] = {}
    for name in names:
        if name in PEERS and {"compiled", "implementation"} & set(PEERS[name].options):
            continue
        try:
            found[name] = answer_of("peers.memory", name, key, threads=threads)
        except CandidateFailed as failure:
            print(f"memory of {name}: it {failure}", file=sys.stderr)
            found[name] = None
    return {"row": key, "mb": found}


def import_time() -> float:
    """Milliseconds that `import agnostic_dl` takes above a bare interpreter."""
    sys.path.insert(0, str(HERE.parent / "tools"))
    from import_time import measured

    return float(measured(10)[2])


def cold_start(name: str, threads: int, repeats: int = 3) -> float:
    """Seconds of a fresh process that takes one step of W2; after one that fills the caches."""
    code = FIRST_STEP.format(kernels=kernels_of(name))
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment(threads),
                       cwd=Path(HERE), timeout=120)  # fmt: skip
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def roofline(rows: Sequence[dict[str, Any]], peaks: dict[str, Any]) -> list[dict[str, Any]]:
    """For each row the time below which no machine of these speeds takes it, and ours."""
    found = []
    for row in rows:
        if row["cost"] is None:
            continue
        compute = row["cost"]["flops"] / (peaks["gflops"] * 1e9)
        bound = 1e3 * max(compute, row["cost"]["bytes"] / (peaks["gbytes"] * 1e9))
        found += [
            {"row": row["row"], "bound_ms": bound, "candidate": name, "ms": ms, "share": bound / ms}
            for name, ms in row["median_ms"].items() if name not in PEERS
        ]  # fmt: skip
    return found
