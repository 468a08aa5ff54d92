"""Labels of pixels as a picture in colours."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from agnostic_dl.errors import UsageError


def label_to_color_map(labels: Any, colors: Sequence[Any]) -> Any:
    """A picture (..., H, W, 3) of uint8 for labels (..., H, W): pixel k is ``colors[k]``.

    *labels*: an array of integers in 0..K-1, or nested lists; *colors*: K colours as (red, green,
    blue) in 0..255, or as texts "#rrggbb". The picture is of the labels' array library.
    """
    table = [_color(color) for color in colors]
    if not hasattr(labels, "dtype"):
        labels = import_module("numpy").asarray(labels)
    from array_api_compat import array_namespace, device

    xp = array_namespace(labels)
    if not xp.isdtype(labels.dtype, "integral"):
        raise UsageError(f"labels: expected integers, got {labels.dtype}")
    flat = xp.reshape(labels, (-1,))
    if flat.shape[0] == 0:
        raise UsageError("labels: expected at least one pixel, got none")
    least, most = int(xp.min(flat)), int(xp.max(flat))
    if least < 0 or most >= len(table):
        wrong = least if least < 0 else most
        raise UsageError(
            f"labels: {wrong} has no colour; there are {len(table)} colours, from 0 on"
        )
    palette = xp.asarray(table, dtype=xp.uint8, device=device(labels))
    picked = xp.take(palette, xp.astype(flat, xp.int64), axis=0)
    return xp.reshape(picked, (*labels.shape, 3))


def _color(color: Any) -> list[int]:
    if isinstance(color, str):
        text = color.removeprefix("#")
        if len(text) == 6 and all(c in "0123456789abcdefABCDEF" for c in text):
            return [int(text[place : place + 2], 16) for place in (0, 2, 4)]
        raise UsageError(f"colors: expected '#rrggbb', got {color!r}")
    values = [float(value) for value in color]
    if len(values) != 3 or not all(value.is_integer() and 0 <= value <= 255 for value in values):
        raise UsageError(f"colors: expected three integers in 0..255, got {color!r}")
    return [int(value) for value in values]
