"""One row: its candidates in processes of their own; the same losses, then rounds of times."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from peers.candidates import PEERS, in_row
from peers.machine import load
from peers.processes import CandidateFailed, Worker
from peers.rows import CHECKED, FIRST, ROWS, Row
from peers.verdicts import block, judge, least


class LossesDiffer(RuntimeError):
    """Two candidates do not compute the same: there is nothing to compare."""


class Contest:
    """The candidates of one row while they live."""

    def __init__(self, row: Row, threads: int, stack: ExitStack) -> None:
        self.row, self.threads, self._stack = row, threads, stack
        self.workers: dict[str, Worker] = {}
        self.left_out: dict[str, str] = {}
        self.about: dict[str, dict[str, Any]] = {}
        self.losses: dict[str, list[float]] = {}
        self.times: dict[str, list[list[float]]] = {}

    def enter(self, names: Sequence[str]) -> None:
        """Start them one by one, so that nothing else runs while one builds and compiles."""
        for name in names:
            worker = Worker("peers.worker", name, self.row.key, threads=self.threads)
            self.workers[name] = self._stack.enter_context(worker)
            try:
                about = worker.answer()
                looked = worker.ask(f"look {CHECKED}")
            except CandidateFailed as failure:
                self._leave_out(name, failure)
                continue
            self.losses[name] = looked.pop("losses")
            self.about[name] = {**about, **looked}
            self.times[name] = []

    def _leave_out(self, name: str, failure: CandidateFailed) -> None:
        self.left_out[name] = str(failure)
        self.times.pop(name, None)
        self.workers.pop(name).end()
        print(f"{self.row.key}: {name} is left out, it {failure}", file=sys.stderr)

    def rounds(self, count: int, seconds: float) -> None:
        """Time them in turn, forwards and backwards."""
        for turn in range(count):
            order = [*self.workers]
            for name in order if turn % 2 == 0 else order[::-1]:
                try:
                    self.times[name].append(self.workers[name].ask(f"time {seconds}"))
                except CandidateFailed as failure:
                    self._leave_out(name, failure)

    def cost(self) -> dict[str, int] | None:
        """FLOPs and bytes of the step, as our program has them."""
        ours = next((name for name in self.workers if name not in PEERS), None)
        found: dict[str, int] | None = self.workers[ours].ask("cost") if ours else None
        return found


def differences(losses: dict[str, list[float]], bounds: Sequence[float], who: str) -> list[float]:
    """For each step the largest relative difference from the losses of *who*; or LossesDiffer."""
    base = losses[who]
    worst = [0.0] * len(base)
    for name, found in losses.items():
        for at, (a, b) in enumerate(zip(found, base, strict=True)):
            apart = abs(a - b) / max(abs(b), 1e-12)
            if not apart <= bounds[at]:
                raise LossesDiffer(
                    f"step {at + 1} of {name} shows {a}, of {who} {b}: {apart:.1e} apart, at most "
                    f"{bounds[at]:.0e} was expected; nothing is timed"
                )
            worst[at] = max(worst[at], apart)
    return worst


def compare(key: str, names: Sequence[str], rounds: int, seconds: float, threads: int
            ) -> dict[str, Any]:  # fmt: skip
    """All that one row shows. Its processes live only while this runs."""
    row, began = ROWS[key], load()
    with ExitStack() as stack:
        contest = Contest(row, threads, stack)
        contest.enter(in_row(list(names), row))
        if not contest.losses:
            raise CandidateFailed(f"{key}: nobody is left: {contest.left_out}")
        who = FIRST if FIRST in contest.losses else next(iter(contest.losses))
        apart = differences(contest.losses, row.bounds, who)
        cost = contest.cost()
        contest.rounds(rounds, seconds)
    times = contest.times
    peers = [name for name in times if name in PEERS]
    return {
        "row": key, "model": row.model, "batch": row.batch, "load": [began, load()],
        "losses": contest.losses, "losses_differ_by": apart, "left_out": contest.left_out,
        "about": contest.about, "cost": cost,
        "median_ms": {n: 1e3 * statistics.median(map(block, t)) for n, t in times.items()},
        "least_ms": {n: 1e3 * least(t) for n, t in times.items()},
        "verdicts": judge(row.targets, times, peers),
        "times_ms": {n: [_milliseconds(b) for b in t] for n, t in times.items()},
    }  # fmt: skip


def _milliseconds(times: Sequence[float]) -> list[float]:
    return [float(f"{1e3 * seconds:.4g}") for seconds in times]
