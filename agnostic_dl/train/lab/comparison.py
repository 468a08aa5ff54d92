"""The result of a comparison: its tables, and the files that show it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from agnostic_dl.errors import UsageError
from agnostic_dl.train.lab import tables
from agnostic_dl.train.lab.diagnosis import Diagnosis, diagnose
from agnostic_dl.train.lab.search import Trial, best_rate

Row = dict[str, Any]

_ROUND = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99)


@dataclass
class Comparison:
    """Optimizers compared.

    *ranking*: a row for each optimizer, the best first; *curves*: a row for each measurement of
    each run, over steps, epochs and seconds of training; *runs*: a row for each run; *search*: a
    row for each trial of a learning rate; *target*: the validation accuracy to which the ranking
    counts steps and seconds; *xrays*: optimizer → the X-ray of its first seed.
    """

    settings: dict[str, Any]
    ranking: list[Row]
    curves: list[Row]
    runs: list[Row]
    search: list[Row]
    target: float
    versions: dict[str, str]
    xrays: dict[str, Any]

    @classmethod
    def of(
        cls, settings: dict[str, Any], trials: Mapping[str, Sequence[Trial]],
        results: Sequence[Mapping[str, Any]], target: float | None, versions: dict[str, str],
    ) -> Comparison:  # fmt: skip
        """Of the trials by label and the results of the runs."""
        curves = [
            {"optimizer": result["label"], "seed": result["seed"], **row}
            for result in results
            for row in result["curve"]
        ]
        runs = [_run(result) for result in results]
        search = [
            {"optimizer": label, "learning_rate": t.rate,
             "validation_loss": t.loss if math.isfinite(t.loss) else None,
             "diverged": math.isinf(t.loss), "chosen": t.rate == best_rate(own)}
            for label, own in trials.items() for t in own
        ]  # fmt: skip
        goal = _target(curves, len(trials)) if target is None else float(target)
        rows = [_row(label, own, results, goal) for label, own in trials.items()]
        rows.sort(key=lambda row: -_or(row["test_accuracy"], -1.0))
        by_loss = sorted(rows, key=lambda row: _or(row["train_loss"], math.inf))
        ranking = [
            {"rank": place, **row, "rank_by_train_loss": 1 + by_loss.index(row)}
            for place, row in enumerate(rows, start=1)
        ]
        xrays = {
            r["label"]: r["xray"] for r in reversed(results) if r.get("xray") is not None
        }  # the first seed's, as it comes last
        return cls(settings, ranking, curves, runs, search, goal, versions, xrays)

    @property
    def learning_rates(self) -> dict[str, float]:
        """Optimizer → the learning rate that it ran with."""
        return {row["optimizer"]: row["learning_rate"] for row in self.ranking}

    def tables(self) -> dict[str, list[Row]]:
        """What the report shows and the CSV files hold, by name."""
        return {
            "ranking": self.ranking, "runs": self.runs, "search": self.search,
            "curves": self.curves, "phases": self.phases(),
        }  # fmt: skip

    def phases(self) -> list[Row]:
        """The phases of the X-rayed runs, a row each; none without X-rays."""
        return [
            {"optimizer": label, **row}
            for label in sorted(self.xrays)
            for row in self.diagnose(label).phases
        ]

    def diagnose(self, optimizer: str) -> Diagnosis:
        """The X-ray of an optimizer's first run, which can write a page of its own."""
        if optimizer not in self.xrays:
            raise UsageError(f"no X-ray of {optimizer!r}: compare with xray=True")
        return diagnose(self.xrays[optimizer])

    def as_plain(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return {
            "settings": self.settings, "versions": self.versions, "target": self.target,
            "ranking": self.ranking, "curves": self.curves, "runs": self.runs,
            "search": self.search, "phases": self.phases(), "xrays": self.xrays,
            "tables": {n: tables.as_text(rows) for n, rows in self.tables().items()},
        }  # fmt: skip

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write report.html, the figures as PNG, the tables as CSV and all as JSON.

        Returns the path of the page.
        """
        from agnostic_dl.viz import report

        where, plain = Path(folder), self.as_plain()
        contents = report.comparison_report(plain)
        contents["comparison.json"] = json.dumps(plain, indent=1, default=str).encode()
        return tables.write_report(where, contents, self.tables(), "report")

    def __str__(self) -> str:
        lines = [f"{'':>2}  {'optimizer':<24}{'rate':>10}{'test accuracy':>24}{'train loss':>12}"]
        for row in self.ranking:
            if row["test_accuracy"] is None:
                shown = "diverged"
            else:
                shown = f"{100 * row['test_accuracy']:.2f} %"
                if row["test_accuracy_sd"] is not None:
                    shown += f" ± {100 * row['test_accuracy_sd']:.2f}"
            lines.append(
                f"{row['rank']:>2}  {row['optimizer']:<24}{row['learning_rate']:>10.3g}"
                f"{shown:>24}{_or(row['train_loss'], math.nan):>12.4f}"
            )
        return "\n".join(lines)


def _run(result: Mapping[str, Any]) -> Row:
    test, validation = result["test"] or {}, result["validation"] or {}
    return {
        "optimizer": result["label"], "learning_rate": result["rate"], "seed": result["seed"],
        "steps": result["steps"], "seconds": result["seconds"],
        "diverged": result["diverged"], "train_loss": result["train_loss"],
        "validation_loss": validation.get("loss"),
        "validation_accuracy": validation.get("accuracy"),
        "test_loss": test.get("loss"), "test_accuracy": test.get("accuracy"),
    }  # fmt: skip


def _row(
    label: str, trials: Sequence[Trial], results: Sequence[Mapping[str, Any]], target: float
) -> Row:
    """An optimizer over its seeds: means and standard deviations."""
    own = [result for result in results if result["label"] == label]
    runs = [_run(result) for result in own]
    reached = [_first(result["curve"], target) for result in own]
    there = [point for point in reached if point is not None]
    all_there = len(there) == len(own)
    return {
        "optimizer": label, "learning_rate": best_rate(trials), "runs": len(runs),
        **_mean(runs, "test_accuracy"), **_mean(runs, "validation_accuracy"),
        **_mean(runs, "train_loss"), **_mean(runs, "test_loss"),
        "runs_at_target": len(there),
        "steps_to_target": fmean(p["step"] for p in there) if all_there else None,
        "seconds_to_target": fmean(p["seconds"] for p in there) if all_there else None,
        "seconds": fmean(run["seconds"] for run in runs),
        "milliseconds_per_step": 1e3 * sum(r["seconds"] for r in runs)
        / max(sum(r["steps"] for r in runs), 1),
    }  # fmt: skip


def _mean(runs: Sequence[Row], name: str) -> Row:
    """Mean and standard deviation over the seeds; none where a run diverged."""
    values = [run[name] for run in runs]
    if any(value is None or not math.isfinite(value) for value in values):
        return {name: None, f"{name}_sd": None}
    return {name: fmean(values), f"{name}_sd": stdev(values) if len(values) > 1 else None}


def _first(curve: Sequence[Mapping[str, Any]], target: float) -> Mapping[str, Any] | None:
    return next((row for row in curve if row["val_accuracy"] >= target), None)


def _target(curves: Sequence[Row], optimizers: int) -> float:
    """The highest round accuracy that half of the optimizers reach with every seed."""
    best: dict[tuple[str, int], float] = {}
    for row in curves:
        run = row["optimizer"], row["seed"]
        best[run] = max(best.get(run, 0.0), row["val_accuracy"])
    labels = {label for label, _ in best}
    worst = [min(v for (label, _), v in best.items() if label == own) for own in labels]
    for goal in reversed(_ROUND):
        if 2 * sum(value >= goal for value in worst) >= optimizers:
            return goal
    return _ROUND[0]


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
