"""Our captured step beside PyTorch's, each in a process of its own, asked in turn.

    python benchmarks/compare_peers.py [--rows W1,W2,W3,W4,S] [--rounds 8] [--peers ...] [--out F]

A full training step with Adam, float32, batch 128, two threads: W1 mlp without dropout, W2 lenet,
W3 adam-paper-cnn, W4 resnet20; S a network of 4-16-3, batch 8. All start from the same weights and
must show the same losses for five steps before anything is timed. Medians over rounds that go
through the candidates forwards and backwards; a ratio is a peer's median / ours.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from peers.candidates import CANDIDATES, ROWS  # noqa: E402

OURS = ("numpy", "numpy+kernels")
#: Largest relative difference of the losses of five steps: rounding only, but W4's batch norm and
#: the max-poolings' winners carry it further.
AGREE = 2e-3


class Candidate:
    """A process that makes steps when it is asked."""

    def __init__(self, name: str, row: str, threads: int) -> None:
        self.name = name
        self.times: list[float] = []
        environment = {
            **os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
            "AGNOSTIC_DL_NUMPY_THREADS": str(threads),
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "peers.candidates", name, row], cwd=HERE, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, what: str, count: int) -> list[float]:
        """What it answers to "losses" or "time" of so many steps."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what} {count}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended without an answer")
        found: list[float] = json.loads(line)
        return found

    def end(self) -> None:
        """Let the process go."""
        self.process.communicate()


def compare(row: str, names: list[str], rounds: int, threads: int) -> dict[str, Any]:
    """Median, least time and ratios of the candidates in one row."""
    candidates = [Candidate(name, row, threads) for name in names]
    deviation = _same_losses(row, candidates)
    steps = 200 if row == "S" else 3
    for turn in range(rounds):
        for candidate in candidates if turn % 2 == 0 else candidates[::-1]:
            candidate.times.append(statistics.median(candidate.ask("time", steps)))
    for candidate in candidates:
        candidate.end()
    medians = {c.name: 1e3 * statistics.median(c.times) for c in candidates}
    return {
        "row": row, "model": ROWS[row][0], "losses_differ_by": deviation, "median_ms": medians,
        "least_ms": {c.name: 1e3 * min(c.times) for c in candidates},
        "ratios": {
            mine: {n: medians[n] / medians[mine] for n in names if n not in OURS}
            for mine in names if mine in OURS
        },
    }  # fmt: skip


def _same_losses(row: str, candidates: list[Candidate]) -> float:
    losses = [candidate.ask("losses", 5) for candidate in candidates]
    worst = max(
        abs(a - b) / max(abs(b), 1e-12)
        for other in losses for a, b in zip(other, losses[0], strict=True)
    )  # fmt: skip
    if not worst <= AGREE:
        raise SystemExit(f"{row}: the losses differ by {worst:.1e}, nothing is timed: {losses}")
    return worst


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a table: milliseconds, and ratios to each of ours."""
    names = list(rows[0]["median_ms"])
    lines = [f"| row | {' | '.join(names)} | fastest peer / numpy | fastest peer / with kernels |"]
    lines.append("|---" * (len(names) + 3) + "|")
    for row in rows:
        cells = [f"{row['median_ms'][n]:.3g}" for n in names]
        for mine in OURS:
            ratios = row["ratios"].get(mine)
            cells.append(f"{min(ratios.values()):.2f}" if ratios else "–")
        lines.append(f"| {row['row']} {row['model']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Compare, print the table, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--peers", default="torch,torch channels_last,torch fused")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a file for the figures, as JSON")
    options = parser.parse_args()
    peers = [name for name in options.peers.split(",") if name]
    unknown = [name for name in peers if name not in CANDIDATES]
    if unknown:
        raise SystemExit(f"unknown peers {unknown}; there are {[*CANDIDATES]}")
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: ours alone")
        peers = [name for name in peers if not name.startswith("torch")]
    rows = [
        compare(row, [*OURS, *peers], options.rounds, options.threads)
        for row in options.rows.split(",")
    ]
    print(markdown(rows))
    if options.out:
        about = {"date": datetime.date.today().isoformat(), "machine": platform.processor(),
                 "python": platform.python_version(), "threads": options.threads}  # fmt: skip
        options.out.write_text(json.dumps({**about, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
