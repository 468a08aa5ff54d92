"""RUN, the folder of a training run: which one, what is in it, and how files get there whole."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agnostic_dl.data.paths import show
from agnostic_dl.errors import DataError, UsageError
from agnostic_dl.train import checkpoint

HISTORY, CURVES = "history.csv", "learning_curves.png"
#: The checkpoint's description of the run for people and other programs; loading does not read it.
DESCRIPTION = "model.json"
CONFUSION, CONFUSION_PICTURE = "confusion_matrix.csv", "confusion_matrix.png"
MISTAKES = "worst_mistakes.png"
REPORT, XRAY = "report.html", "xray.json"

#: What a finished run holds; --overwrite removes these files and no others.
CONTENTS = (
    checkpoint.NAME, checkpoint.PREVIOUS_NAME, DESCRIPTION, HISTORY, CURVES, CONFUSION,
    CONFUSION_PICTURE, MISTAKES, REPORT,
)  # fmt: skip

#: What it holds besides if it was X-rayed, and the beginning of its figures' names.
XRAYED = (XRAY, "phases.csv", "layers.csv", "xray.csv", "xray_steps.csv", "losses.csv")
FIGURES = ("figures", "run-*.png")


def default_folder(data: str, model: str, optimizer: str, *, resume: bool) -> Path:
    """runs/<data>-<model>-<optimizer>, with -2, -3, ... so as not to meet an earlier run.

    With *resume*, the last of those that are there.
    """
    stem = re.sub(r"[^\w.-]+", "_", f"{_base(data)}-{model}-{optimizer}")
    number, last = 1, Path("runs", stem)
    while True:
        folder = Path("runs", stem if number == 1 else f"{stem}-{number}")
        if not _occupied(folder):
            return last if resume else folder
        number, last = number + 1, folder


def _base(data: str) -> str:
    name = Path(data).expanduser().resolve().name
    return (name[:-4] if name.lower().endswith(".npz") else name) or "data"


def check_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a RUN that would be overwritten unasked, or that cannot be written to."""
    if resume and overwrite:
        raise UsageError("--resume continues a run and --overwrite replaces it: choose one")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {show(folder)}: a file; expected a folder, or a new name")
    if _occupied(folder) and not (resume or overwrite):
        raise UsageError(
            f"--out {show(folder)}: already there and not empty: continue it with --resume, "
            "replace it with --overwrite, or choose another name"
        )
    above = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise DataError(f"--out {show(folder)}: {show(above)} cannot be written to")


def _occupied(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def clear(folder: Path) -> None:
    """Remove what an earlier run has left in *folder*, and nothing else."""
    for name in (*CONTENTS, *XRAYED):
        (folder / name).unlink(missing_ok=True)
    for path in (folder / FIGURES[0]).glob(FIGURES[1]):
        path.unlink()


def write(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there: it is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".partial")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def as_csv(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> bytes:
    """A table as the content of a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(list(header))
    writer.writerows(rows)
    return text.getvalue().encode(errors="replace")
