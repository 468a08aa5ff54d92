"""The files that a finished run leaves beside its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agnostic_dl import viz
from agnostic_dl.cli import measuring
from agnostic_dl.cli import run_folder as runs
from agnostic_dl.train import History, Trainer, checkpoint, diagnose
from agnostic_dl.train.lab.tables import as_csv
from agnostic_dl.viz import report


def write_description(folder: Path, trainer: Trainer) -> None:
    """Model, optimizer, settings and history as JSON, as they stand in the checkpoint."""
    text = json.dumps(checkpoint.description(trainer), indent=1)
    runs.write(folder / runs.DESCRIPTION, text.encode())


def write_history(folder: Path, history: History) -> None:
    """The history as CSV, a row for each epoch."""
    columns = history.columns
    rows = ([row.get(name, "") for name in columns] for row in history)
    runs.write(folder / runs.HISTORY, runs.as_csv(columns, rows))


def write_all(folder: Path, trainer: Trainer, test: Any, held_out: str) -> None:
    """Curves, confusion matrix and worst mistakes; every picture is drawn before one is written."""
    probabilities = measuring.probabilities(trainer, test)
    counts = viz.confusion_counts(test.labels, probabilities.argmax(axis=1), len(test.classes))
    curves = viz.learning_curves(trainer.history, held_out)
    matrix = viz.confusion_matrix(counts, test.classes)
    files = {
        runs.CURVES: viz.png(curves),
        runs.CONFUSION: _confusion_csv(counts, test.classes),
        runs.CONFUSION_PICTURE: viz.png(matrix),
        runs.MISTAKES: viz.png(viz.worst_mistakes(test, probabilities)),
        **_report(folder, trainer, {
            "learning_curves": (curves, "Learning curves."),
            "confusion_matrix": (matrix, "Which class was taken for which."),
        }),
    }  # fmt: skip
    write_history(folder, trainer.history)
    for name, content in files.items():
        runs.write(folder / name, content)


def _confusion_csv(counts: Any, classes: Any) -> bytes:
    header = ["true \\ predicted", *classes]
    return runs.as_csv(header, ([name, *row] for name, row in zip(classes, counts, strict=True)))


def _report(folder: Path, trainer: Trainer, figures: dict[str, Any]) -> dict[str, bytes]:
    """The page of the run, from its X-ray if there is one; then with figures and tables beside."""
    xrayed = (folder / runs.XRAY).is_file()
    found = diagnose(folder / runs.XRAY if xrayed else trainer)
    contents = report.run_report(found.as_plain(), figures)
    if not xrayed:
        return {runs.REPORT: contents[runs.REPORT]}
    tables = {f"{n}.csv": as_csv(rows) for n, rows in found.tables().items() if rows}
    return {**contents, **tables}
