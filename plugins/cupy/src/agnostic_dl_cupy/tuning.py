"""Which of cuDNN's plans for a convolution is the fastest here, found out by running them all.

Off by default: cuDNN's heuristics choose. ``AGNOSTIC_DL_CUPY_AUTOTUNE=1`` turns it on for a
process, :func:`autotune` for a block of code. Plans add up in other orders, and another one may
win next time: results then differ between runs in the last places. What a captured step was
captured with, it keeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from agnostic_dl_cupy.switch import Switch

if TYPE_CHECKING:  # to import the plugin imports no NumPy
    from agnostic_dl_cupy.runtime import Runtime

VARIABLE = "AGNOSTIC_DL_CUPY_AUTOTUNE"
_SWITCH = Switch(VARIABLE)

#: Runs in a row that are timed together, how often, and how many times slower than the best so far
#: a first run may be for that.
RUNS, ROUNDS, HOPELESS = 10, 3, 4


def autotunes() -> bool:
    """Whether plans are tried here: by the innermost :func:`autotune`, else by the environment."""
    return _SWITCH.is_on()


def autotune(wanted: bool = True) -> AbstractContextManager[None]:
    """Try (or with False do not try) plans that are new until the context ends, in this one only.

    The plans of both settings are kept side by side: where it ends, the heuristics' are used again.
    """
    return _SWITCH.turned(wanted)


class Tuner:
    """The trials on one runtime, one for each key."""

    def __init__(self, runtime: Runtime, cudnn: Any) -> None:
        self.runtime = runtime
        #: A plan that is refused or left out by a filter, an error of CUDA's, want of memory.
        self._failures = cudnn.cudnnGraphNotSupportedError, ValueError, RuntimeError, MemoryError
        self._settled: set[Hashable] = set()

    def settle(self, key: Hashable, graph: Any, run: Callable[[Any], None]) -> None:
        """Select the fastest of a graph's plans, the first time that its key comes.

        *run* executes the selected plan with an array of scratch memory; what it writes to is
        written to by all. A capture would record the trial, and so leaves the choice as it is.
        """
        if key in self._settled or self.runtime.capturing():
            return
        self._settled.add(key)
        if times := self._times(graph, run):
            # If none could be run, the first one that builds: that is the heuristics' choice.
            graph.build_plan_at_index(min(times, key=times.__getitem__))

    def _times(self, graph: Any, run: Callable[[Any], None]) -> dict[int, float]:
        """Seconds of the plans that can be built, infinitely many of those that cannot be run."""
        times: dict[int, float] = {}
        for index in range(graph.get_execution_plan_count()):
            with suppress(*self._failures):
                graph.build_plan_at_index(index)  # which selects it as well
                times[index] = math.inf
                times[index] = self._seconds(graph, run, min(times.values()))
        return times

    def _seconds(self, graph: Any, run: Callable[[Any], None], best: float) -> float:
        """Seconds of the selected plan; roughly, where they are far from the best."""
        scratch, clock = self.runtime.scratch(graph.get_workspace_size()), self.runtime.seconds
        run(scratch)  # the first run loads the kernels
        once = clock(lambda: run(scratch))
        if once > HOPELESS * best:
            return once

        def several() -> None:
            for _ in range(RUNS):
                run(scratch)

        return min(clock(several) for _ in range(ROUNDS)) / RUNS
