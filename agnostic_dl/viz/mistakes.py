"""The sheet of the worst mistakes: pictures with their true and their predicted class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from agnostic_dl.viz.figures import TEST_COLOR, new_figure, plain


def mistakes(labels: Any, probabilities: Any) -> list[int]:
    """Positions of the wrong predictions, the least probability for the true class first.

    *labels* (N,) integers and *probabilities* (N, classes), host arrays.
    """
    wrong = [
        (float(row[true]), place)
        for place, (row, true) in enumerate(zip(probabilities, labels, strict=True))
        if int(row.argmax()) != int(true)
    ]
    return [place for _, place in sorted(wrong)]


def worst_mistakes(
    data: Any, probabilities: Any, classes: Sequence[str] | None = None, limit: int = 25
) -> Any:
    """A figure of the *limit* worst mistakes that *probabilities* (N, classes) make on a dataset.

    *data*: a dataset with `labels` and, for a list of indices, (pictures in [0, 1], labels).
    """
    names = data.classes if classes is None else classes
    wrong = mistakes(data.labels, probabilities)
    shown = wrong[:limit]
    columns = max(min(5, len(shown)), 3)
    rows = max(math.ceil(len(shown) / columns), 1)
    figure = new_figure(1.9 * columns, 2.35 * rows + 0.5)
    figure.suptitle(_headline(len(wrong), len(shown), len(data)), fontsize=10)
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells:
        axes.set_axis_off()
    pictures = data[shown][0] if shown else []
    for axes, place, picture in zip(cells, shown, pictures, strict=False):
        _draw(axes, picture, _caption(probabilities[place], int(data.labels[place]), names))
    return figure


def _headline(wrong: int, shown: int, total: int) -> str:
    if not wrong:
        return f"no mistake among {total:,} pictures"
    which = f"all {wrong:,}" if shown == wrong else f"the worst {shown} of {wrong:,}"
    return f"{which} mistakes among {total:,} pictures"


def _caption(probabilities: Any, true: int, names: Sequence[str]) -> tuple[str, str]:
    guess = int(probabilities.argmax())
    return (
        f"is {plain(names[true], 16)} ({100 * float(probabilities[true]):.1f} %)",
        f"taken for {plain(names[guess], 16)} ({100 * float(probabilities[guess]):.1f} %)",
    )


def _draw(axes: Any, picture: Any, caption: tuple[str, str]) -> None:
    grey = picture.shape[2] not in (3, 4)
    shown = picture[..., 0] if grey else picture
    axes.imshow(shown, cmap="gray" if grey else None, vmin=0.0, vmax=1.0, interpolation="nearest")
    for points, text, color in ((4, caption[0], "black"), (16, caption[1], TEST_COLOR)):
        axes.annotate(
            text, (0.5, 0.0), (0, -points), xycoords="axes fraction", textcoords="offset points",
            ha="center", va="top", fontsize=7.5, color=color, parse_math=False,
        )  # fmt: skip
