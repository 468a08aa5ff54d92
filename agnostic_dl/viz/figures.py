"""Figures without a display: matplotlib's object interface, never pyplot, drawn by Agg."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any

from agnostic_dl.errors import MissingExtraError

#: Training and held-out data, in every picture the same two.
TRAIN_COLOR, TEST_COLOR = "#4878a8", "#d1605e"
_DPI = 130


def new_figure(width: float, height: float) -> Any:
    """An empty figure of that size in inches, whose layout fits itself to its texts."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise missing(error) from error
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def missing(error: ModuleNotFoundError) -> Exception:
    """The error for a library of the extra that is not installed; any other error as it is."""
    library = {"matplotlib": "matplotlib", "PIL": "Pillow"}.get((error.name or "").split(".")[0])
    if library is None:
        return error
    return MissingExtraError(
        f"pictures need {library}, which is not installed: install agnostic-dl with its extra 'cli'"
    )


def png(picture: Any) -> bytes:
    """A figure or a Pillow image as the content of a PNG file."""
    content = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class name in a script that the font does not have
        if hasattr(picture, "savefig"):
            picture.savefig(content, format="png")
        else:
            picture.save(content, format="PNG")
    return content.getvalue()


def plain(text: Any, limit: int = 24) -> str:
    """A name as it may stand in a picture: printable, and not longer than *limit*."""
    name = "".join(c if c.isprintable() else "?" for c in str(text))
    return name if len(name) <= limit else name[: limit - 1] + "…"
