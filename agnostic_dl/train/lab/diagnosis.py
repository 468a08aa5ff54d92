"""`diagnose`: what a run's X-ray, or at least its checkpoint, says about its optimizer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agnostic_dl.backends import to_numpy
from agnostic_dl.errors import DataError, UsageError
from agnostic_dl.optim.update import scalars_for
from agnostic_dl.primitives import library_of
from agnostic_dl.train.lab import measures, provenance, tables, words
from agnostic_dl.train.lab.phases import Phase, find_phases
from agnostic_dl.train.lab.xray import FORMAT, WHOLE, XRay, corrections
from agnostic_dl.train.trainer import Trainer

XRAY = "xray.json"  # in a run's folder
Row = dict[str, Any]


@dataclass
class Diagnosis:
    """A run seen through its optimizer; printing it gives the phases in words.

    *rows*: a row for each look and parameter ("*": the whole model); *steps*: a row for each look,
    of the optimizer itself; *phases*: a row of numbers for each phase, with its *summary* in words;
    *about*: the optimizer, the shadows and how often they were looked at.
    """

    rows: list[Row]
    steps: list[Row]
    losses: list[list[float]]
    phases: list[Row]
    about: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters, without the whole."""
        names = dict.fromkeys(row["parameter"] for row in self.rows)
        return [name for name in names if name != WHOLE]

    def series(self, quantity: str, parameter: str = WHOLE) -> list[tuple[int, float]]:
        """(step, value) of a quantity of a parameter, or of the whole model, where it is known."""
        found = [
            (row["step"], row[quantity])
            for row in self.rows
            if row["parameter"] == parameter and math.isfinite(row.get(quantity, math.nan))
        ]
        if not found:
            known = sorted({n for row in self.rows for n in row} - {"step", "parameter"})
            raise UsageError(
                f"no {quantity!r} of {parameter!r}. Quantities: {', '.join(known)}. Parameters: "
                f"{WHOLE}, {', '.join(self.parameters)}"
            )
        return found

    def __str__(self) -> str:
        optimizer = self.about.get("optimizer", {}).get("name", "unknown optimizer")
        lines = [f"{optimizer}, {len(self.phases)} phases"]
        lines += [f"{row['phase']}: {row['summary']}" for row in self.phases]
        return "\n".join([*lines, *self.notes])

    def tables(self) -> dict[str, list[Row]]:
        """What the report shows and the CSV files hold, by name."""
        return {
            "phases": self.phases,
            "layers": self.layers(),
            "xray": self.rows,
            "xray_steps": self.steps,
            "losses": [{"step": int(s), "loss": loss} for s, loss in self.losses],
        }

    def layers(self) -> list[Row]:
        """The last look, a row for each parameter."""
        last = max((row["step"] for row in self.rows), default=0)
        return [row for row in self.rows if row["step"] == last]

    def write(self, folder: str | Path) -> Path:
        """Write report.html, the figures as PNG and the tables as CSV.

        Returns the page's path.
        """
        from agnostic_dl.viz import report

        contents = report.run_report(self.as_plain())
        return tables.write_report(Path(folder), contents, self.tables(), "report")

    def as_plain(self) -> dict[str, Any]:
        """Everything that a report needs, as plain data."""
        return {
            "about": self.about, "info": self.info, "notes": self.notes,
            "tables": {n: tables.as_text(rows) for n, rows in self.tables().items()},
            "rows": self.rows, "steps": self.steps, "losses": self.losses, "phases": self.phases,
            "parameters": self.parameters,
        }  # fmt: skip


def diagnose(run: Any) -> Diagnosis:
    """Say what the optimizer of a run did, phase by phase.

    *run*: the folder that `train --xray` left, an :class:`XRay`, or its `record()`. For a run
    without an X-ray (a folder or a Trainer) there are the phases of its epochs and, from the
    optimizer's state at its end, what the names of the state's arrays tell.
    """
    if isinstance(run, XRay):
        return _from_record(run.record())
    if isinstance(run, Mapping):
        return _from_record(dict(run))
    if isinstance(run, Trainer):
        return _from_trainer(run)
    if not isinstance(run, (str, Path)):
        raise UsageError(
            f"diagnose: expected a run's folder, an XRay or a Trainer, got {type(run).__name__}"
        )
    folder = Path(run)
    path = folder if folder.suffix == ".json" else folder / XRAY
    if path.is_file():
        return _from_record(_read(path))
    return _from_trainer(Trainer.load(folder))


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
        if not isinstance(record, dict) or record["format"] != FORMAT:
            raise ValueError(f"not an X-ray of this version (format {FORMAT})")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a readable X-ray: {error}") from error
    return record


def _from_record(record: dict[str, Any]) -> Diagnosis:
    try:
        rows, steps, losses = record["rows"], record["steps"], record["losses"]
        about, notes = {**record["about"]}, list(record["notes"])
        about["steps_per_epoch"] = record["steps_per_epoch"]
        info = {**record["info"], "history": record["history"]}
        found = find_phases([int(s) for s, _ in losses], [loss for _, loss in losses])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"damaged X-ray: {type(error).__name__}: {error}") from error
    return Diagnosis(rows, steps, losses, _worded(found, rows, steps), about, info, notes)


def _worded(phases: list[Phase], rows: list[Row], steps: list[Row]) -> list[Row]:
    whole = [row for row in rows if row["parameter"] == WHOLE]
    found = [words.numbers(phase, whole, steps) for phase in phases]
    return [{**row, "summary": words.sentences(row)} for row in found]


# -- without an X-ray ----------------------------------------------------------------------------


def _from_trainer(trainer: Trainer) -> Diagnosis:
    """What a checkpoint knows: the epochs' losses and the optimizer's last state."""
    history = [row for row in trainer.history if "loss" in row]
    losses = [[int(row["step"]), float(row["loss"])] for row in history]
    phases = find_phases([int(s) for s, _ in losses], [loss for _, loss in losses])
    rows = _state_rows(trainer)
    optimizer, step = trainer.engine.optimizer, trainer.step.count
    steps: list[Row] = []
    if step:
        rate = trainer.step.learning_rate
        steps = [{"step": step, "learning_rate": rate, **scalars_for(optimizer, rate, step)}]
    about = {"optimizer": {"name": type(optimizer).__name__}, "shadows": {}}
    notes = [
        "This run was not X-rayed (train --xray, or callbacks=[XRay()]): phases are those of its "
        "epochs' mean losses, and layers show the optimizer's state at the end."
    ]
    info = {
        "settings": trainer.info.get("settings", {}), "history": history, "seed": trainer.seed,
        "versions": provenance.versions(trainer.backend.name),
    }  # fmt: skip
    return Diagnosis(rows, steps, losses, _worded(phases, [], []), about, info, notes)


def _state_rows(trainer: Trainer) -> list[Row]:
    step, state = trainer.step.count, trainer.step.state
    rows = []
    for name, parameter in trainer.model.parameters().items():
        optimizer, slots = trainer.engine.optimizer_for(name), state["slots"].get(name)
        if optimizer is None or slots is None or not step:
            continue
        xp = library_of("diagnose", (parameter.data,))[1]
        drawn = {
            n: measures.sampled(xp, a, None)
            for n, a in slots.items()
            if tuple(a.shape) == tuple(parameter.shape)
        }
        found = measures.state_values(xp, slots, drawn, corrections(optimizer, step))
        found["weight_norm"] = xp.sqrt(measures.square_sum(xp, parameter.data))
        size = math.prod(parameter.shape)
        rows.append({"step": step, "parameter": name, "size": size,
                     **{n: float(to_numpy(v)) for n, v in found.items()}})  # fmt: skip
    return rows
