"""One row: its candidates in processes of their own; the same losses, then rounds of times."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from peers.candidates import PEERS, in_row
from peers.machine import load
from peers.processes import CandidateFailed, Worker
from peers.rows import CHECKED, EAGER, FIRST, ROWS, Row
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
        """Start them together, then let them take their first steps, and compile, one by one."""
        for name in names:
            worker = Worker("peers.worker", name, self.row.key, threads=self.threads)
            self.workers[name] = self._stack.enter_context(worker)
        for name in names:
            self.about[name] = self._asked(name, lambda worker: worker.answer()) or {}
        for name in [*self.workers]:
            looked = self._asked(name, lambda worker: worker.ask(f"look {CHECKED}"))
            if looked is not None:
                self.losses[name], self.times[name] = looked.pop("losses"), []
                self.about[name] |= looked

    def _asked(self, name: str, ask: Callable[[Worker], Any]) -> Any:
        """What a candidate answers; None: it does not, and is left out."""
        try:
            return ask(self.workers[name])
        except CandidateFailed as failure:
            self._leave_out(name, str(failure))
            return None

    def agree(self) -> list[float]:
        """For each step the largest difference of two losses among those that stay.

        Ours and PyTorch's eager step must agree, or there is nothing to compare: LossesDiffer. Any
        other peer that computes something else is no opponent, and is left out.
        """
        base = self.losses[FIRST] if FIRST in self.losses else next(iter(self.losses.values()))
        for name in [*self.losses]:
            wrong = complaint(self.losses[name], base, self.row.bounds)
            if wrong is not None and (name not in PEERS or name == EAGER):
                raise LossesDiffer(f"{name} {wrong}")
            if wrong is not None:
                self._leave_out(name, wrong)
                del self.losses[name]
        apart = (differences(found, base) for found in self.losses.values())
        return [max(step) for step in zip(*apart, strict=True)]

    def _leave_out(self, name: str, why: str) -> None:
        self.left_out[name] = why
        self.times.pop(name, None)
        self.workers.pop(name).end()
        print(f"{self.row.key}: {name} is left out: it {why}", file=sys.stderr)

    def rounds(self, count: int, seconds: float) -> None:
        """Time them in turn, forwards and backwards."""
        for turn in range(count):
            order = [*self.workers]
            for name in order if turn % 2 == 0 else order[::-1]:
                found = self._asked(name, lambda worker: worker.ask(f"time {seconds}"))
                if found is not None:
                    self.times[name].append(found)

    def cost(self) -> dict[str, int] | None:
        """FLOPs and bytes of the step, as our program has them."""
        ours = next((name for name in self.workers if name not in PEERS), None)
        found: dict[str, int] | None = self.workers[ours].ask("cost") if ours else None
        return found


def differences(found: Sequence[float], base: Sequence[float]) -> list[float]:
    """For each step how far two losses are apart, relative to the second."""
    return [abs(a - b) / max(abs(b), 1e-12) for a, b in zip(found, base, strict=True)]


def complaint(found: Sequence[float], base: Sequence[float], bounds: Sequence[float]) -> str | None:
    """In words, the first step whose losses are further apart than expected; None: none is."""
    for at, (apart, bound) in enumerate(zip(differences(found, base), bounds, strict=True)):
        if not apart <= bound:  # not a number is not close
            return (
                f"shows the loss {found[at]} in step {at + 1} where {base[at]} is right: "
                f"{apart:.1e} apart, at most {bound:.0e} was expected"
            )
    return None


def compare(key: str, names: Sequence[str], rounds: int, seconds: float, threads: int
            ) -> dict[str, Any]:  # fmt: skip
    """All that one row shows. Its processes live only while this runs."""
    row, began = ROWS[key], load()
    with ExitStack() as stack:
        contest = Contest(row, threads, stack)
        contest.enter(in_row(list(names), row))
        if not contest.losses:
            raise CandidateFailed(f"{key}: nobody is left: {contest.left_out}")
        apart = contest.agree()
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
