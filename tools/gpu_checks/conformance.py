"""The conformance kits for the backend and its kernels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import agnostic_dl as adl
from agnostic_dl.testing import backends
from agnostic_dl.testing import kernels as kit
from agnostic_dl.testing.calls import calls_of
from agnostic_dl.testing.table import OPERATIONS
from gpu_checks.bench import Bench

#: Processes that compile CuPy's kernels at once.
COMPILING = 6


def conformance(bench: Bench) -> dict[str, Any]:
    """The kit for backends: every primitive, random numbers, gradients. Rehearsed: some calls."""
    if bench.dry:
        return {"calls": compute(bench.backend, bench.host, 0, 40)}
    _compile_all()
    return {"report": str(adl.testing.check_backend("cupy"))}


def kernel_conformance(bench: Bench) -> dict[str, Any]:
    """The kit for kernels: every form of call against the references."""
    if not bench.dry:
        return {"report": str(adl.testing.check_kernels("cupy"))}
    subject = kit.Subject(bench.backend, bench.backend.kernels)
    return {name: kit.compare_kernel(subject, name) for name in sorted(subject.kernels)}


def _compile_all() -> None:
    """Make the kit's calls in some processes at once.

    CuPy compiles a kernel for each operation and dtype, which takes minutes one after the other,
    and keeps them on disk. What is wrong with a call the kit finds out afterwards.
    """
    code = "import sys; from gpu_checks import conformance as c; c.part(*map(int, sys.argv[1:]))"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(number), str(COMPILING)],
            cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for number in range(COMPILING)
    ]  # fmt: skip
    for process in running:
        process.wait()


def part(number: int, parts: int) -> None:
    """Make one part of the calls."""
    compute(adl.get_backend("cupy"), adl.get_backend("numpy"), number, parts)


def compute(backend: Any, host: Any, number: int, parts: int) -> int:
    """Make part *number* of all calls on the backend; how many went well."""
    subject, well = backends.Subject(backend.name, backend, host), 0
    for name in sorted(OPERATIONS)[number::parts]:
        for call in calls_of(name, host.xp, 4):
            try:
                backends._compare_call(subject, call)
            except Exception:  # the kit's to judge
                continue
            well += 1
    return well
