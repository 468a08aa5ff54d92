"""What a step takes of memory above its imported libraries, in a fresh process.

    python -m peers.memory CANDIDATE ROW

Prints MB as JSON, less what the process had before it made anything: the peak over the first three
steps, in which a step is recorded or compiled, and over three later ones. What the problem is made
of (our network's first weights and a batch) counts for ours only, to whom it belongs; a peer's own
copies of it count for the peer.

**Imported libraries.** PyTorch's are in the process when PyTorch is imported. So are, before
anything counts, those of our kernel plugins: libdnnl is loaded with the backend, and Numba, which
the plugin imports when it has a first loop to compile and which then imports two thirds of itself,
is made to compile an empty function. The machine code of a step's own loops, what compiling them
takes, and oneDNN's primitives are made in the step and count, as PyTorch's do.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
STEPS = 3


def _kilobytes(name: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise OSError(f"{STATUS} has no {name}")


def resident() -> float:
    """MB of memory that this process holds now; the peak begins anew from here."""
    CLEAR.write_text("5")
    return _kilobytes("VmRSS") / 1024


def peak() -> float:
    """The most MB that it has held since."""
    return _kilobytes("VmHWM") / 1024


def _import(candidate: str) -> None:
    from peers.candidates import PEERS, kernels_of

    if candidate in PEERS:
        __import__(
            {"torch": "peers.torch_steps", "jax": "peers.jax_steps"}[PEERS[candidate].library]
        )
        return
    import agnostic_dl as adl
    from peers import ours  # noqa: F401 (what it imports is the library)

    kernels = kernels_of(candidate)
    adl.use_backend("numpy", kernels=kernels)
    if "numba" in kernels:
        import numba

        numba.njit(lambda: None)()


def main(candidate: str, key: str) -> None:
    """Measure and print."""
    import agnostic_dl as adl
    from peers.candidates import PEERS, step_of
    from peers.rows import ROWS, problem
    from peers.worker import confine

    confine()
    _import(candidate)
    if candidate in PEERS:
        with adl.use_backend("numpy", kernels=()):
            made = problem(ROWS[key])
        before = resident()
        step = step_of(candidate, key, make=lambda row: made)
    else:
        before = resident()
        step = step_of(candidate, key)
    first = _peak_of(step)
    resident()
    print(json.dumps({"first": first - before, "later": _peak_of(step) - before}), flush=True)


def _peak_of(step: Any) -> float:
    for _ in range(STEPS):
        step.run()
    return peak()


if __name__ == "__main__":
    main(*sys.argv[1:])
