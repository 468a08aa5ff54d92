"""One candidate in a process of its own: answers each line that it is given with one of JSON.

    python -m peers.worker CANDIDATE ROW [BATCH]

It first says what it is made of. Then "look N" → what N steps showed, with the seconds of the
first; "time S" → the seconds of a step, again and again for S seconds; "cost" → what a step costs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

#: Before every timed block, seconds in which caches fill and what others left running ends:
#: OpenBLAS's threads spin for about a tenth of a second after their last product.
WARM = 0.1
#: Least seconds and number of what is timed at once: steps are grouped until they take so long.
LEAST, FEWEST = 1e-3, 3


def confine() -> None:
    """Run on as many cores as there are threads: for libraries that count cores themselves."""
    threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    if threads and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def timed(run: Callable[[], Any], seconds: float, warm: float = WARM) -> list[float]:
    """Seconds of a step, each the mean over a group of at least a millisecond."""
    clock = time.perf_counter
    started, count = clock(), 0
    while count == 0 or clock() - started < warm:
        run()
        count += 1
    group = max(1, int(LEAST * count / (clock() - started)))
    found: list[float] = []
    begun = clock()
    while len(found) < FEWEST or clock() - begun < seconds:
        before = clock()
        for _ in range(group):
            run()
        found.append((clock() - before) / group)
    return found


def _look(step: Any, count: int) -> dict[str, Any]:
    started = time.perf_counter()
    losses = [step.look()]
    first = time.perf_counter() - started
    losses += [step.look() for _ in range(count - 1)]
    return {"losses": losses, "first_step_seconds": first}


def _cost(step: Any) -> dict[str, int]:
    program = step.program()
    return {"flops": program.flops, "bytes": program.bytes}


def answer(step: Any, line: str) -> Any:
    """What a line asks for."""
    what, _, argument = line.strip().partition(" ")
    if what == "look":
        return _look(step, int(argument))
    if what == "time":
        return timed(step.run, float(argument))
    if what == "cost":
        return _cost(step)
    raise ValueError(f"look N, time S or cost expected, got {line!r}")


def main(candidate: str, row: str, batch: str = "") -> None:
    """Build the candidate's step and answer until nothing more is asked."""
    import json

    # Answers go where standard output went; what libraries print joins the errors.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    confine()
    from peers.candidates import step_of
    from peers.machine import made_of
    from peers.rows import ROWS

    chosen = replace(ROWS[row], batch=int(batch)) if batch else ROWS[row]
    step = step_of(candidate, chosen)
    print(json.dumps(made_of()), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(step, line)), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
