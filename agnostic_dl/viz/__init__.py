"""Pictures of a run: learning curves, confusion matrix, worst mistakes, a picture with its label.

Each function takes host arrays or plain lists and returns a matplotlib Figure (or a Pillow image)
that no display, window or global state stands behind: ``figure.savefig("curves.png")``. matplotlib
and Pillow are imported with the first call; both come with the extra ``cli``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agnostic_dl.viz.confusion import confusion_counts, confusion_matrix
    from agnostic_dl.viz.curves import learning_curves
    from agnostic_dl.viz.figures import png
    from agnostic_dl.viz.label_map import label_to_color_map
    from agnostic_dl.viz.labelled import labelled_picture
    from agnostic_dl.viz.mistakes import worst_mistakes
    from agnostic_dl.viz.range_test import range_test_figure

__all__ = [
    "confusion_counts", "confusion_matrix", "label_to_color_map", "labelled_picture",
    "learning_curves", "png", "range_test_figure", "worst_mistakes",
]  # fmt: skip

_HOMES = {
    "confusion_counts": "confusion",
    "confusion_matrix": "confusion",
    "label_to_color_map": "label_map",
    "labelled_picture": "labelled",
    "learning_curves": "curves",
    "png": "figures",
    "range_test_figure": "range_test",
    "worst_mistakes": "mistakes",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
