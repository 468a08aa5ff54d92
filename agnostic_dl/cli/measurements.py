"""Times of `bench`: all take turns, forwards and backwards; medians, and what bounds them."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from agnostic_dl.backend import Backend
from agnostic_dl.backends import use_backend
from agnostic_dl.cli.contestants import Contestant
from agnostic_dl.cli.workloads import Work, Workload
from agnostic_dl.contract import one_line

#: Seconds that one turn lasts at least, so that quick work is called several times.
_TURN = 0.05
_MOST_CALLS = 200
#: Seconds after which a group of workloads gets no further round, if it has had two.
_PATIENCE = 8.0
#: What a machine's speeds are measured with: the side of a matrix, the elements of an array.
_SIDE, _LENGTH = 2048, 1 << 25


@dataclass(frozen=True)
class Speeds:
    """What a backend reaches on this machine: the two sides of the roofline."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Figure:
    """The times of one workload on one backend, in seconds for a call."""

    times: list[float]
    images: int
    work: Work

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.times)

    @property
    def images_per_second(self) -> float:
        """Images of a call over its median time."""
        return self.images / self.median

    def share(self, speeds: Speeds) -> float:
        """The roofline bound over the median time: 1 is as fast as the machine can be."""
        bound = max(self.work.flops / speeds.flops, self.work.bytes / speeds.bytes)
        return bound / self.median


@dataclass
class Figures:
    """All that was measured: by workload and backend, and what could not be."""

    absent: dict[str, str]
    rows: dict[tuple[str, str], Figure] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    #: By the backends' labels; the best that was seen, since a busy moment shows too little.
    speeds: dict[str, Speeds] = field(default_factory=dict)

    @property
    def workloads(self) -> list[str]:
        """Those that were measured on some backend, in order."""
        return list(dict.fromkeys(workload for workload, _ in self.rows))

    def notes(self) -> list[str]:
        """What is to be said beneath the table."""
        lines = []
        if self.rows:
            counts = {len(figure.times) for figure in self.rows.values()}
            rounds = " to ".join(map(str, sorted({min(counts), max(counts)})))
            lines.append(
                f"median of {rounds} rounds in turn; images per second; share of the roofline "
                f"bound, at speeds measured here:"
            )
            lines += [
                f"  {name}: {s.flops / 1e9:.0f} GFLOP/s in matrix products, {s.bytes / 1e9:.0f} "
                f"GB/s to and from memory"
                for name, s in self.speeds.items()
            ]  # fmt: skip
        lines += [f"not available: {name}: {reason}" for name, reason in self.absent.items()]
        return lines + [f"failed: {w} on {name}: {why}" for (w, name), why in self.failed.items()]

    def to_plain(self) -> dict[str, Any]:
        """As what JSON can hold."""
        return {
            "python": platform.python_version(), "machine": platform.machine(),
            "unavailable": self.absent,
            "speeds": {n: {"flops": s.flops, "bytes": s.bytes} for n, s in self.speeds.items()},
            "failed": [{"workload": w, "backend": n, "reason": r}
                       for (w, n), r in self.failed.items()],
            "results": [
                {"workload": w, "backend": n, **_plain(figure, self.speeds[n])}
                for (w, n), figure in self.rows.items()
            ],
        }  # fmt: skip


def _plain(figure: Figure, speeds: Speeds) -> dict[str, Any]:
    return {
        "median_ms": 1e3 * figure.median, "times_ms": [1e3 * t for t in figure.times],
        "images_per_second": figure.images_per_second if figure.images else None,
        "flops": figure.work.flops, "bytes": figure.work.bytes,
        "share_of_bound": figure.share(speeds),
    }  # fmt: skip


def measure(
    groups: Iterable[list[Workload]], contestants: list[Contestant], absent: dict[str, str],
    rounds: int, status: Any = None,
) -> Figures:  # fmt: skip
    """Time every workload on every contestant; the workloads of a group are timed together."""
    figures = Figures(absent)
    with status or nullcontext():
        for group in groups:
            if status is not None:
                status.update(group[0].name)
            _look_at_speeds(figures, contestants)
            _measure_group(figures, group, contestants, rounds)
    return figures


def _look_at_speeds(figures: Figures, contestants: list[Contestant]) -> None:
    """Measure each library once more; its contestants share the figure."""
    by_library: dict[str, Speeds] = {}
    for contestant in contestants:
        label, library = contestant.label, contestant.backend.name
        if library not in by_library:
            by_library[library] = speeds_of(contestant.backend)
        new = by_library[library]
        old = figures.speeds.get(label, new)
        figures.speeds[label] = Speeds(max(new.flops, old.flops), max(new.bytes, old.bytes))


def _measure_group(
    figures: Figures, group: list[Workload], contestants: list[Contestant], rounds: int
) -> None:
    found: dict[tuple[str, str], Figure] = {}
    for workload in group:
        for contestant in contestants:
            key = workload.name, contestant.label
            try:
                work = _warmed(workload, contestant.backend)
            except Exception as error:  # of any library: the others are still worth their row
                figures.failed[key] = one_line(error)
            else:
                found[key] = Figure([], workload.images, work)
    in_turns([(figure.work.run, figure.times) for figure in found.values()], rounds)
    figures.rows |= found


def _warmed(workload: Workload, backend: Backend) -> Work:
    """The work after two calls, in which steps are recorded."""
    with use_backend(backend):
        work = workload.prepare(backend)
        for _ in range(2):
            work.run()
    return work


def in_turns(calls: list[tuple[Callable[[], Any], list[float]]], rounds: int) -> None:
    """Add to each call's list its seconds in each round; the order is reversed every time."""
    counts = [_calls_in_a_turn(run) for run, _ in calls]
    started = time.perf_counter()
    for turn in range(rounds):
        if turn > 1 and time.perf_counter() - started > _PATIENCE:
            break
        order = list(zip(calls, counts, strict=True))
        for (run, times), count in order if turn % 2 == 0 else order[::-1]:
            times.append(_seconds(run, count))


def _calls_in_a_turn(run: Callable[[], Any]) -> int:
    return min(max(round(_TURN / max(_seconds(run, 1), 1e-9)), 1), _MOST_CALLS)


def _seconds(run: Callable[[], Any], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - started) / count


def speeds_of(backend: Backend) -> Speeds:
    """The best of a few products of matrices, and of a few passes over memory by all cores."""
    xp, n, pieces = backend.xp, _SIDE, _cores()
    square = xp.ones((n, n), dtype=xp.float32, device=backend.device)
    length = _LENGTH // pieces
    pairs = [
        [xp.ones((length,), dtype=xp.float32, device=backend.device) for _ in range(2)]
        for _ in range(pieces)
    ]

    def add(pair: list[Any]) -> None:
        pair[0] += pair[1]

    with ThreadPoolExecutor(pieces) as pool:
        product = _best(backend, lambda: xp.matmul(square, square))
        passes = _best(backend, lambda: list(pool.map(add, pairs)))
    return Speeds(2 * n**3 / product, 3 * 4 * length * pieces / passes)


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _best(backend: Backend, call: Callable[[], Any]) -> float:
    def finished() -> None:
        call()
        backend.synchronize()

    finished()
    return min(_seconds(finished, 1) for _ in range(5))
