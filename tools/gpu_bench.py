"""What the phases of gpu_check.py are run on: the backend, or its rehearsal, and a clock."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import agnostic_dl as adl
from agnostic_dl.primitives import PRIMITIVES


class Bench:
    """The backend under test, or its rehearsal, and the sizes that go with it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.dry, self.mnist = options.dry, options.mnist
        if self.dry:
            from agnostic_dl_cupy.rehearsal.backend import RehearsalBackend

            self.backend: Any = RehearsalBackend()
        else:
            self.backend = adl.get_backend("cupy")
        self.host = adl.get_backend("numpy")

    def pick(self, real: Any, rehearsed: Any) -> Any:
        return rehearsed if self.dry else real

    def normal(self, *shape: int) -> Any:
        draw = np.random.default_rng(sum(shape)).standard_normal(shape)
        return draw.astype(np.float32)

    def gap(self, name: str, *arrays: Any, **static: Any) -> float:
        """The kernel's largest error relative to the float64 reference's largest number."""
        place = [self.backend.asarray(a) for a in arrays]
        got = self.backend.kernels[name](self.backend.xp, *place, **static)
        if got is NotImplemented:
            raise AssertionError(f"{name} declined {[a.shape for a in arrays]}")
        wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
        wanted = PRIMITIVES[name].forward(self.host.xp, *wide, **static)
        one = self.backend.to_numpy(got).astype(np.float64)
        return float(abs(one - wanted).max() / max(abs(wanted).max(), 1e-30))

    def medians(self, *runs: Callable[[], Any], rounds: int = 7) -> list[float]:
        """Seconds of each, taken in turns, synchronised."""
        rounds = self.pick(rounds, 1)
        times: list[list[float]] = [[] for _ in runs]
        for run in runs:
            run()
        for _ in range(rounds):
            for run, column in zip(runs, times, strict=True):
                self.backend.synchronize()
                started = time.perf_counter()
                run()
                self.backend.synchronize()
                column.append(time.perf_counter() - started)
        return [statistics.median(column) for column in times]
