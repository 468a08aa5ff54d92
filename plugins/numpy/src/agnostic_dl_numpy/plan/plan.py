"""The plan itself: what is done at each run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Set
from typing import Any, NamedTuple

import numpy as np

from agnostic_dl.extend import Instruction, Program, UsageError
from agnostic_dl_numpy.plan.kernel import Call
from agnostic_dl_numpy.plan.placing import Places


class Bound(NamedTuple):
    """An instruction and its call; *at*: its place in the code."""

    at: int
    instruction: Instruction
    call: Call


def _other_names(given: Set[str], wanted: Set[str]) -> UsageError:
    missing, unknown = sorted(wanted - given), sorted(given - wanted)
    said = [f"{', '.join(missing)} missing"] if missing else []
    said += [f"{', '.join(unknown)} unknown"] if unknown else []
    return UsageError(
        f"the plan needs the inputs {', '.join(wanted) or '(none)'} at each run: "
        f"{' and '.join(said)}"
    )


def in_order(copies: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """(target, source) in an order in which nothing is written over that is still to be copied.

    Where they go round in a circle, as in a swap, one of the sources is put aside first.
    """
    waiting = [(target, source) for target, source in copies if target is not source]
    ordered = []
    while waiting:
        ready = [k for k in range(len(waiting)) if not _read_by_others(waiting, k)]
        if ready:
            ordered.append(waiting.pop(ready[0]))
            continue
        target, source = waiting[0]
        aside = np.empty_like(source)
        ordered.append((aside, source))
        waiting[0] = target, aside
    return ordered


def _read_by_others(copies: list[tuple[Any, Any]], k: int) -> bool:
    target = copies[k][0]
    return any(np.may_share_memory(target, s) for j, (_, s) in enumerate(copies) if j != k)


class NumpyPlan:
    """Prebound calls over memory that was laid out once; see `Plan` in the core."""

    def __init__(
        self, program: Program, places: Places, bound: list[Bound], state: dict[str, Any],
        inputs: dict[str, Any],
    ) -> None:  # fmt: skip
        self.program, self.state = program, state
        self._places, self._bound, self._names = places, bound, inputs.keys()
        self._inputs = [(name, array, array.shape) for name, array in inputs.items()]
        # Where two values are alike, an output may have got the other's number.
        planned = places.program
        self._guard = None if planned.guard is None else places.of(planned.outputs[planned.guard])
        split, last = len(bound), len(bound)
        if planned.guard is not None:
            last = places.first.get(planned.outputs[planned.guard], -1)
            split = sum(b.at <= last for b in bound)
        self._before = [b.call for b in bound[:split]]
        self._after = [b.call for b in bound[split:]]
        self._late = in_order([(target, places.of(number)) for target, number in places.late])
        self._results = {n: places.of(planned.outputs[n]) for n in planned.results}
        #: Those that are known when the guard is.
        self._early = [
            n for n in planned.results if places.first.get(planned.outputs[n], -1) <= last
        ]

    def load(self, state: Mapping[str, Any]) -> None:
        """Copy state in, by name of the input."""
        for name, array in state.items():
            np.copyto(self.state[name], array)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run once; see `Plan`. Raises UsageError for inputs that are not the program's."""
        self._feed(inputs)
        for call in self._before:
            call()
        if self._guard is not None and not self._guard:
            return {name: self._results[name].copy() for name in self._early}
        for call in self._after:
            call()
        # Before the rest of the new state is in its place: a result may be old state.
        found = {name: array.copy() for name, array in self._results.items()}
        for target, array in self._late:
            np.copyto(target, array)
        return found

    def _feed(self, inputs: Mapping[str, Any]) -> None:
        """Copy the inputs to their places: all of them, or the last run's would go in again."""
        if inputs.keys() != self._names:
            raise _other_names(inputs.keys(), self._names)
        for name, place, shape in self._inputs:
            value = inputs[name]
            # Assigning would broadcast. Only what is no array is asked in the slow way.
            if getattr(value, "shape", ()) != shape != np.shape(value):
                raise UsageError(
                    f"the plan's input {name!r} has the shape {shape}, and got {np.shape(value)}: "
                    f"another shape needs a plan of its own"
                )
            place[...] = value

    def read(self, name: str) -> Any:
        """A copy of one array of the state, read-only."""
        array = self.state[name].copy()
        array.flags.writeable = False
        return array

    def rest(self) -> None:
        """Give the memory that values share back until the next run."""
        self._places.arena.give_back()

    @property
    def nbytes(self) -> int:
        """Bytes of the memory that values share, without state and inputs."""
        return self._places.arena.size

    def spoil(self) -> None:
        """Fill the shared memory with NaN, to find what reads more than was written."""
        self._places.arena.spoil()

    def profile(self, inputs: Mapping[str, Any], rounds: int = 10) -> list[tuple[str, float]]:
        """What each operation takes, in seconds: the median over *rounds*, slowest first.

        The state goes on as if nothing had been run.
        """
        before = {name: array.copy() for name, array in self.state.items()}
        self._feed(inputs)
        times: list[list[float]] = []
        for _ in range(rounds):
            marks = [time.perf_counter()]
            for bound in self._bound:
                bound.call()
                marks.append(time.perf_counter())
            times.append(np.diff(marks).tolist())
        self.load(before)
        names = [b.instruction.op for b in self._bound]
        medians = np.median(times, axis=0).tolist()
        return sorted(zip(names, medians, strict=True), key=lambda pair: -pair[1])
