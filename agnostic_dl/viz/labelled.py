"""A picture with its label written beneath it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agnostic_dl.errors import DataError
from agnostic_dl.viz.figures import missing, plain

_LEAST, _MOST = 240, 4096  # pixels: small pictures are enlarged, huge ones made smaller


def labelled_picture(path: str | Path, text: str) -> Any:
    """The picture file at *path* as a Pillow image, upright, with *text* in a strip beneath it."""
    picture = _scaled(_upright(path))
    font, margin = _font(picture.width), max(6, picture.width // 60)
    line = _fitting(plain(text, 80), font, picture.width - 2 * margin)
    bottom = font.getbbox(line + "Ág")[3]
    sheet = picture.crop((0, 0, picture.width, picture.height + bottom + 2 * margin))
    draw = _library("ImageDraw").Draw(sheet)
    draw.rectangle((0, picture.height, sheet.width, sheet.height), fill="white")
    draw.text((margin, picture.height + margin), line, fill="black", font=font)
    return sheet


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"PIL.{name}")
    except ModuleNotFoundError as error:
        raise missing(error) from error


def _upright(path: str | Path) -> Any:
    try:
        with _library("Image").open(path) as image:
            return _library("ImageOps").exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path}: not a picture that can be read: {error}") from error


def _scaled(picture: Any) -> Any:
    """Small pictures enlarged by a whole number, so that their pixels stay squares."""
    longest, shortest = max(picture.size), min(picture.size)
    if longest > _MOST:
        picture.thumbnail((_MOST, _MOST))
        return picture
    factor = min(-(-_LEAST // shortest), _MOST // longest)
    if factor <= 1:
        return picture
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, _library("Image").Resampling.NEAREST)


def _font(width: int) -> Any:
    """A font for most alphabets: the one that matplotlib brings, else Pillow's own."""
    size = max(16, width // 20)
    try:
        import matplotlib

        file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
        return _library("ImageFont").truetype(str(file), size)
    except (ImportError, OSError):
        return _library("ImageFont").load_default(size)


def _fitting(text: str, font: Any, width: int) -> str:
    """As much of *text* as fits into *width* pixels."""
    while font.getlength(text) > width and len(text) > 2:
        text = text[:-2] + "…"
    return text
