"""The confusion matrix: which class was taken for which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from agnostic_dl.viz.figures import new_figure, plain

_NUMBERS_UP_TO, _NAMES_UP_TO = 25, 60  # classes: beyond, the picture has no room for them


def confusion_counts(labels: Iterable[Any], predicted: Iterable[Any], classes: int) -> list[Any]:
    """How many examples of each class (rows) were predicted as each class (columns)."""
    counts = [[0] * classes for _ in range(classes)]
    for true, guess in zip(labels, predicted, strict=True):
        counts[int(true)][int(guess)] += 1
    return counts


def confusion_matrix(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Any:
    """A figure of the counts, coloured by the share of each true class."""
    size = len(classes)
    inches = min(max(3.2 + 0.42 * size, 4.6), 16.0)
    figure = new_figure(inches + 0.9, inches)
    from matplotlib.ticker import PercentFormatter  # after new_figure, which names the extra

    axes = figure.subplots()
    shares = [[n / (sum(row) or 1) for n in row] for row in counts]
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    _name_axes(axes, classes)
    if size <= _NUMBERS_UP_TO:
        _write_numbers(axes, counts, shares)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("share of the true class")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    bar.outline.set_visible(False)
    right, total = sum(counts[k][k] for k in range(size)), sum(map(sum, counts))
    axes.set_title(f"{right:,} of {total:,} right ({100 * right / (total or 1):.2f} %)", loc="left")
    return figure


def _name_axes(axes: Any, classes: Sequence[str]) -> None:
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(False)
    if len(classes) > _NAMES_UP_TO:
        return
    names = [plain(name, 18) for name in classes]
    turned = max(map(len, names)) > 2
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90 if turned else 0, parse_math=False)
    axes.set_yticks(places, names, parse_math=False)
    axes.tick_params(length=0)


def _write_numbers(axes: Any, counts: Any, shares: Any) -> None:
    for row, column in ((r, c) for r in range(len(counts)) for c in range(len(counts))):
        if counts[row][column]:
            color = "white" if shares[row][column] > 0.55 else "#404040"
            axes.text(
                column, row, f"{counts[row][column]}", color=color,
                ha="center", va="center", fontsize=8,
            )  # fmt: skip
