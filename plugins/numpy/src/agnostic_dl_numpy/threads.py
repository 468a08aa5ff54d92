"""The plugin's pool of threads: pieces of one kernel, shared out over the cores.

NumPy lets go of the interpreter's lock inside its loops, so plain threads are enough. Which thread
takes a piece is chance; what a piece computes is not, so results never depend on timing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import copy_context
from functools import cache
from itertools import count as counter
from itertools import pairwise
from typing import Any

from agnostic_dl_numpy import blas

#: Elements below which a second thread costs more than it brings.
WORTHWHILE = 1 << 16

_MOST = 16
_pinned = False


def pin() -> bool:
    """Compute in one thread for good; False where the BLAS cannot be kept to one."""
    global _pinned
    _pinned = blas.pin()
    thread_count.cache_clear()
    return _pinned


@cache
def thread_count() -> int:
    """How many threads to use: ``$AGNOSTIC_DL_NUMPY_THREADS``, else the cores we may run on."""
    if _pinned:
        return 1
    asked = os.environ.get("AGNOSTIC_DL_NUMPY_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        cores = os.cpu_count() or 1
    return min(cores, _MOST)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(thread_count() - 1, 1), thread_name_prefix="agnostic-dl-numpy")


if hasattr(os, "register_at_fork"):  # a child process has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def spread(task: Callable[[int], Any], count: int, *, products: bool = False) -> None:
    """Call task(0), ..., task(count - 1), each once, on this thread and the pool's.

    *products*: the tasks call the BLAS, which is then kept to one thread; where that cannot be
    done, it keeps its threads and the tasks run one after the other.
    """
    helpers = min(thread_count(), count) - 1
    if products and not blas.controllable():
        helpers = 0
    with blas.single_threaded() if products else nullcontext():
        if helpers > 0:
            _share(task, count, helpers)
            return
        for index in range(count):
            task(index)


def _share(task: Callable[[int], Any], count: int, helpers: int) -> None:
    numbers = counter()

    def work() -> None:
        while (index := next(numbers)) < count:
            task(index)

    # In our context, which says what NumPy is to do about numbers that overflow.
    futures = [_pool().submit(copy_context().run, work) for _ in range(helpers)]
    try:
        work()
    finally:
        # One that has not begun has nothing left to do; the others must end: they write.
        running = [future for future in futures if not future.cancel()]
        errors = [future.exception() for future in running]
    for error in errors:
        if error is not None:
            raise error


def ranges(total: int, parts: int) -> list[tuple[int, int]]:
    """range(total) in at most *parts* pieces of nearly equal length, none empty."""
    parts = max(min(parts, total), 1)
    bounds = [total * part // parts for part in range(parts + 1)]
    return list(pairwise(bounds))


def pieces(total: int, each: int) -> list[tuple[int, int]]:
    """range(total) in pieces of about *each*, as many as share out evenly over the threads."""
    rounds = -(-total // (each * thread_count()))
    return ranges(total, rounds * thread_count())
