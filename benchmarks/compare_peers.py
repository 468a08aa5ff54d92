"""Our captured step beside PyTorch's and JAX's, each in a process of its own, asked in turn.

    python benchmarks/compare_peers.py [--rows W1,W2,W3,W4,S,O1,O2] [--rounds 5] [--peers ...]
                                       [--threads 2] [--extras] [--out FILE] [--markdown FILE]

A full training step with Adam, float32, batch 128: W1 mlp without dropout, W2 lenet, W3
adam-paper-cnn, W4 resnet20; S a network of 4-16-3, batch 8; O1 Adam and O2 SGD with momentum alone,
on 10.2 million parameters in 62 tensors. Ours are NumPy alone, NumPy with all kernel plugins that
are installed, and, where there are several, with each alone. All start from the same weights and
must show the same losses for five steps before anything is timed; peers/rows.py has the bounds.

**Turns.** The processes of a row live together, and one works at a time: rounds go through them
forwards and backwards. Before each timed block a candidate makes steps for a tenth of a second, so
that its caches are warm and the threads that another left spinning have gone to sleep. A ratio is
the median over the rounds of (the peer's time / ours) within a round; the ratio of the least times
stands beside it. A candidate that dies or hangs is named with its last words and left out.

**Threads.** Every process has the same number of them: OMP_, MKL_, OPENBLAS_ and NUMBA_NUM_THREADS,
our own AGNOSTIC_DL_NUMPY_THREADS, `torch.set_num_threads`, and NPROC for XLA's pool. It may also
run on so many cores only, since XLA has no other limit that it promises to keep.

**Verdicts** are printed, never asserted: "met", "above the floor" (at most 15 % below the target),
"below". The command fails where our losses and PyTorch's eager ones differ; a peer that computes
something else is left out.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from peers import candidates, extras, machine, processes, tables
from peers.comparing import LossesDiffer, compare
from peers.rows import FIRST, ROWS, WITH_KERNELS


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(candidates.PEERS),
                        help="names, separated by commas; '' for ours alone")  # fmt: skip
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.3,
                        help="how long a timed block is at least (three steps)")  # fmt: skip
    parser.add_argument("--extras", action="store_true",
                        help="time for an image, memory, start-up, roofline as well")  # fmt: skip
    parser.add_argument("--out", type=Path, help="a file for all figures, as JSON")
    parser.add_argument("--markdown", type=Path, help="a file for the tables")
    options = parser.parse_args(arguments)
    options.rows = _known("row", options.rows, ROWS)
    options.peers = _known("peer", options.peers, candidates.PEERS)
    return options


def _known(kind: str, names: str, known: Any) -> list[str]:
    found = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in found if name not in known]
    if unknown:
        raise SystemExit(f"unknown {kind}s {unknown}; there are {[*known]}")
    return found


def absent(peers: list[str]) -> dict[str, str]:
    """Who cannot take part anywhere, and why."""
    found = {name: why for name in peers if (why := candidates.missing(name)) is not None}
    for name, why in candidates.kernel_plugins().items():
        if why is not None:
            found[f"numpy+{name}"] = why
    if WITH_KERNELS not in candidates.ours():
        found[WITH_KERNELS] = "no kernel plugin for NumPy can be used"
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All the figures."""
    figures: dict[str, Any] = machine.about(options.threads)
    figures["left_out"] = absent(options.peers)
    for name, why in figures["left_out"].items():
        print(f"{name} is left out: {why}", file=sys.stderr)
    peers = [name for name in options.peers if name not in figures["left_out"]]
    ours = [*candidates.ours()]
    figures |= {"rows": [], "failed": {}}
    for key in options.rows:
        print(f"{key} ...", file=sys.stderr, flush=True)
        try:
            found = compare(key, [*ours, *peers], options.rounds, options.seconds, options.threads)
        except (LossesDiffer, processes.CandidateFailed) as problem:
            figures["failed"][key] = str(problem)
            continue
        figures["rows"].append(found)
    if options.extras:
        some = [name for name in ours if name in (FIRST, WITH_KERNELS)]
        try:
            figures["extras"] = extras.measure(
                some, peers, figures["rows"], options.seconds, options.threads
            )
        except (processes.CandidateFailed, subprocess.SubprocessError) as problem:
            figures["failed"]["extras"] = str(problem)
    return {**figures, "load_at_end": machine.load()}


def main() -> None:
    """Compare, print the tables, and write the figures."""
    options = options_of()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: no process is left behind
    with tempfile.TemporaryDirectory() as compiled:
        # What PyTorch compiles is compiled anew, so that the time it takes means something.
        processes.SETTINGS["TORCHINDUCTOR_CACHE_DIR"] = compiled
        figures = measure(options)
    text = tables.report(figures)
    if options.out:
        options.out.write_text(tables.as_json(figures), encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(text + "\n", encoding="utf-8")
    print(text)
    if figures["failed"]:
        raise SystemExit(f"failed: {', '.join(figures['failed'])}")


if __name__ == "__main__":
    main()
