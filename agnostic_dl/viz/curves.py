"""Learning curves: loss, accuracy and learning rate over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agnostic_dl.viz.figures import TEST_COLOR, TRAIN_COLOR, new_figure


def learning_curves(history: Any, held_out: str = "test") -> Any:
    """A figure of every measured quantity over the epochs.

    *history*: a History, or its rows, dicts with an "epoch" and, of the held-out data, columns
    that begin with "val_"; *held_out*: what to call those data.
    """
    rows = list(history)
    names = _measured(rows)
    panels = [*names, *(["learning_rate"] if _varies(rows, "learning_rate") else [])]
    figure = new_figure(4.6 * len(panels), 3.6)
    for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, rows, name, held_out)
    return figure


def _measured(rows: Sequence[dict[str, float]]) -> list[str]:
    columns = {name for row in rows for name in row}
    held_out = [name.removeprefix("val_") for name in columns if name.startswith("val_")]
    return sorted({"loss", "accuracy", *held_out} & {*columns, *held_out}, key=_order)


def _order(name: str) -> tuple[bool, str]:
    return name != "loss", name


def _varies(rows: Sequence[dict[str, float]], name: str) -> bool:
    return len({row.get(name) for row in rows}) > 1


def _draw(axes: Any, rows: Sequence[dict[str, float]], name: str, held_out: str) -> None:
    for column, label, color in ((name, "training", TRAIN_COLOR),
                                 (f"val_{name}", held_out, TEST_COLOR)):  # fmt: skip
        points = [(row["epoch"], row[column]) for row in rows if row.get(column) is not None]
        if points:
            epochs, values = zip(*points, strict=True)
            axes.plot(epochs, values, "o-", color=color, label=label, markersize=3.5)
    _dress(axes, name, rows)


def _dress(axes: Any, name: str, rows: Sequence[dict[str, float]]) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes.set_title(name.replace("_", " "), loc="left")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    if len(rows) == 1:
        axes.set_xlim(0.5, 1.5) if rows[0]["epoch"] == 1 else None
    if name == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    if name == "learning_rate":
        axes.set_ylim(bottom=0)
    else:
        axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
