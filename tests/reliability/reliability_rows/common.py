"""What the rows share: a small network and data, its fingerprint, and processes to be hurt."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import agnostic_dl as adl
from agnostic_dl import nn

HERE = Path(__file__).parents[1]
PROJECT = HERE.parents[1]


def data(examples: int = 96, side: int = 8, classes: int = 4, seed: int = 0) -> Any:
    """Random images with random labels."""
    generator = np.random.default_rng(seed)
    x = generator.random((examples, side, side, 1), dtype=np.float32)
    return x, generator.integers(0, classes, examples)


def model(dropout: float = 0.25) -> nn.Module:
    """Every kind of state in little: weights, running statistics, dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(dropout), nn.Linear(36, 4),
    )  # fmt: skip


def trainer(backend: str | None = None, seed: int = 5, **options: Any) -> adl.Trainer:
    """A trainer of that model with a schedule."""
    rate = adl.schedules.cosine(3e-3, 60)
    optimizer = adl.optimizer("adam", learning_rate=rate)
    return adl.Trainer(model(), optimizer, backend=backend, seed=seed, **options)


def fingerprint(run: adl.Trainer) -> str:
    """SHA-256 of weights, buffers, optimizer state, random state, position and history."""
    digest = hashlib.sha256()
    host = run.backend.to_numpy
    for name, array in sorted(run.model.state_dict().items()):
        digest.update(name.encode() + np.ascontiguousarray(host(array)).tobytes())
    for parameter, slots in sorted(run.step.state["slots"].items()):
        for name, array in sorted(slots.items()):
            digest.update(
                f"{parameter}.{name}".encode() + np.ascontiguousarray(host(array)).tobytes()
            )
    timings = ("seconds", "images_per_second")
    rows = [{k: v for k, v in row.items() if k not in timings} for row in run.history]
    position = None if run.position is None else (run.position.batches, run.position.sums)
    rest = [run.seed, run.step.state["step"], run.step.state["schedules"], rows, position]
    digest.update(json.dumps(rest).encode())
    return digest.hexdigest()


def environment(**changes: str) -> dict[str, str]:
    """The environment of a child: ours, with the rows' modules and this checkout on its path."""
    paths = [str(HERE), str(PROJECT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **changes}


def start(script: str, *arguments: Any, **changes: str) -> subprocess.Popen[str]:
    """Start a script of `children/`."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "children" / script), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**changes),
    )  # fmt: skip


def finish(process: subprocess.Popen[str], timeout: float = 60) -> tuple[int, str, str]:
    """Exit code, output and errors of a child, which is killed if it takes too long."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"\nkilled after {timeout} s"
    return process.returncode, out, err


def resident() -> int:
    """Bytes of memory that this process has now, counted page by page: statm only estimates."""
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("Rss"))


def open_files() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
