"""How far figures of one and the same commit are apart on this machine.

    python asv_benchmarks/noise.py [--runs 2] -E existing [arguments of asv run]

Runs asv several times over what is checked out, and prints for each group of benchmarks by how
much the largest figure exceeds the smallest: in the median, at the 90th percentile, at worst. A
change smaller than that is noise.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections import defaultdict

import measure  # beside this script


def spreads(runs: list[dict[str, float]]) -> dict[str, list[tuple[float, str]]]:
    """By group, (largest figure / smallest − 1, benchmark), of what every run has; sorted."""
    found = defaultdict(list)
    for key in set.intersection(*map(set, runs)):
        values = [run[key] for run in runs]
        benchmark = key.split()[-2]
        found[benchmark.split(".")[0]].append((max(values) / min(values) - 1, benchmark))
    return {group: sorted(found[group]) for group in sorted(found)}


def table(found: dict[str, list[tuple[float, str]]]) -> str:
    """A line for each group."""
    lines = [f"{'group':<14}{'figures':>8}{'median':>9}{'90 %':>9}{'worst':>9}"]
    for group, pairs in found.items():
        sizes = [size for size, _ in pairs]
        ninth = sizes[math.ceil(0.9 * len(sizes)) - 1]
        cells = "".join(f"{100 * s:>7.1f} %" for s in (statistics.median(sizes), ninth, sizes[-1]))
        lines.append(f"{group:<14}{len(sizes):>8}{cells}  {pairs[-1][1]}")
    return "\n".join(lines)


def one_run(arguments: list[str]) -> dict[str, float]:
    """The figures of one run of asv."""
    results, started = measure.results_folder(arguments), time.time()
    measure.main(["run", *arguments])
    found = measure.figures(results, started - 1)
    return {key: v for key, v in found if v is not None and v > 0 and math.isfinite(v)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2)
    options, arguments = parser.parse_known_args()
    runs = [one_run(arguments) for _ in range(options.runs)]
    found = spreads(runs)
    print(table(found))
    return int(not found)


if __name__ == "__main__":
    raise SystemExit(main())
