"""The summary of a model: its layers, the shapes of their outputs, and their parameters."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from rich.table import Table

from agnostic_dl.cli import output


class Row(NamedTuple):
    """One layer: its name and kind, the shape of its output without the batch, its parameters."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


def layers(trainer: Any, image_shape: tuple[int, ...]) -> list[Row]:
    """The rows for an initialised model, found by sending one black picture through it."""
    from agnostic_dl.autograd import no_grad

    model, backend = trainer.model, trainer.backend
    x = backend.asarray([[[[0.0] * image_shape[2]] * image_shape[1]] * image_shape[0]], "float32")
    parts = dict(model.children()) if hasattr(model, "layers") else {type(model).__name__: model}
    rows, was_training = [], model.training
    model.eval()
    with no_grad():
        for name, layer in parts.items():
            x = layer(x)
            rows.append(Row(name, type(layer).__name__, tuple(x.shape[1:]), count(layer)))
    model.train(was_training)
    return rows


def count(model: Any) -> int:
    """How many numbers training changes."""
    return sum(math.prod(parameter.shape) for parameter in model.parameters().values())


def as_table(rows: list[Row], title: str) -> Table:
    """The rows with their total."""
    table = output.table("layer", "kind", "output", "parameters", title=title,
                         numbers=("parameters",))  # fmt: skip
    for row in rows:
        shape = " × ".join(map(str, row.shape))
        table.add_row(output.name(row.name), row.kind, shape, f"{row.parameters:,}")
    total = sum(row.parameters for row in rows)
    table.add_section()
    table.add_row("total", "", "", f"{total:,}", style="bold")
    return table
