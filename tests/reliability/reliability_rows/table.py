"""The table: what a row is, how the rows are collected, and how they are printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """What a row has found: cases that held, of all that were tried, and whatever did not."""

    held: int = 0
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: str = ""

    def check(self, condition: Any, failure: str) -> bool:
        """Count a case."""
        self.tried += 1
        if condition:
            self.held += 1
        else:
            self.failures.append(failure)
        return bool(condition)

    def note(self, text: str) -> None:
        """Add a figure to the row."""
        self.notes.append(text)

    @property
    def passed(self) -> bool:
        return bool(self.tried) and not self.failures

    @property
    def figure(self) -> str:
        if self.skipped:
            return f"not run: {self.skipped}"
        return "; ".join([f"{self.held:,}/{self.tried:,}", *self.notes])


@dataclass
class Row:
    """One line of the table: *run* takes True for the full form and gives an Outcome."""

    number: int
    title: str
    target: str
    run: Callable[[bool], Outcome]


ROWS: dict[int, Row] = {}


def row(number: int, title: str, target: str) -> Callable[[Callable[[bool], Outcome]], Any]:
    """Put a function into the table."""

    def register(run: Callable[[bool], Outcome]) -> Callable[[bool], Outcome]:
        ROWS[number] = Row(number, title, target, run)
        return run

    return register


def print_table(numbers: list[int], full: bool) -> bool:
    """Run the rows one after the other and print a line for each; whether all passed."""
    print("| # | what | target | reached | seconds |\n|---|---|---|---|---|", flush=True)
    good = True
    for number in numbers:
        entry, started = ROWS[number], time.perf_counter()
        outcome = entry.run(full)
        seconds = time.perf_counter() - started
        state = "" if outcome.passed or outcome.skipped else " **missed**"
        good = good and (outcome.passed or bool(outcome.skipped))
        print(
            f"| {number} | {entry.title} | {entry.target} | {outcome.figure}{state} | "
            f"{seconds:.0f} |",
            flush=True,
        )
        for failure in outcome.failures[:10]:
            print(f"    {failure}", flush=True)
    return good
