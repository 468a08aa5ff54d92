"""Picture files to arrays: one set of rules for training and for prediction.

Turned upright by EXIF; transparent parts laid on white; 16-bit grey cut to its high byte (as Pillow
does with 16-bit colour); CMYK and palettes turned to RGB; resized last, bilinear with antialiasing,
without regard to the aspect ratio. Only the decoders in `FORMATS` ever see a file.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agnostic_dl.data.host import MAX_PIXELS, allocate, needs_extra, size_text
from agnostic_dl.data.paths import reason, show, unreadable
from agnostic_dl.data.refit import Size
from agnostic_dl.errors import AgnosticDLError, DataError, UsageError

with needs_extra():
    from PIL import Image

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")

_GREY_MODES = {"1", "L", "LA", "La", "I"}  # besides I;16 in its byte orders
_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_CHUNK = 64  # files to a task of the pool
# Below about this size a decoder runs too briefly outside Python's lock for threads to pay.
_THREADED_PIXELS = 112 * 112


class _Header(NamedTuple):
    size: Size  # (height, width), upright
    grey: bool


def load_image(path: str | os.PathLike[str], shape: Sequence[int]) -> NDArray[np.float32]:
    """One picture file for a model whose pictures are (H, W, C): (1, H, W, C) float32 in [0, 1].

    Args:
        path: a JPEG, PNG, BMP or WebP file.
        shape: the model's (H, W, C); the picture is resized to (H, W), and turned grey for C = 1
            or into colour for C = 3.

    Raises:
        DataError: the file is missing, damaged, too large or not a picture.
        UsageError: `shape` is not of that form.
    """
    if len(shape) != 3 or min(shape) < 1 or shape[2] not in (1, 3):
        raise UsageError(f"shape must be (H, W, 1) or (H, W, 3), got {tuple(shape)}")
    file = Path(path)
    if file.exists() and not file.is_file():  # a pipe would block its reader
        raise DataError(f"{show(file)}: not a file; expected one picture")
    with _quiet():
        picture = _decoded(file, "L" if shape[2] == 1 else "RGB", (shape[0], shape[1]))
    return np.divide(picture[None], 255, dtype=np.float32)


def read_images(
    paths: Sequence[Path], *, where: str, size: Size | None, mode: str | None
) -> NDArray[np.uint8]:
    """All files as one array, (N, H, W, C) uint8, in their order.

    Without `mode` the pictures stay grey (C = 1) if every one is grey, else all become RGB. Without
    `size` they must all have the same one. `where` begins the messages about them all.

    Raises:
        DataError: sizes differ, or a file is damaged, too large or not a picture.
    """
    with _quiet():
        headers = [_header(path) for path in paths]
        mode = mode or ("L" if all(header.grey for header in headers) else "RGB")
        size = size or _common_size(paths, headers, where)
        shape = (len(paths), *size, 1 if mode == "L" else 3)
        images = allocate(shape, np.uint8, where)
        mean_pixels = sum(h.size[0] * h.size[1] for h in headers) / len(headers)
        workers = min(8, os.cpu_count() or 1) if mean_pixels >= _THREADED_PIXELS else 1
        _fill(images, paths, mode, size, workers)
    return images


def _fill(
    images: NDArray[np.uint8], paths: Sequence[Path], mode: str, size: Size, workers: int
) -> None:
    def fill(rows: range) -> None:
        for row in rows:
            images[row] = _decoded(paths[row], mode, size)

    starts = range(0, len(paths), _CHUNK)
    chunks = [range(start, min(start + _CHUNK, len(paths))) for start in starts]
    if workers == 1:
        for chunk in chunks:
            fill(chunk)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(fill, chunks):  # in order: the first bad file is the one that is named
            pass


def _common_size(paths: Sequence[Path], headers: Sequence[_Header], where: str) -> Size:
    counts = Counter(header.size for header in headers)
    if len(counts) == 1:
        return headers[0].size
    examples = {header.size: path for path, header in zip(paths, headers, strict=True)}
    listed = [
        f"{size_text(size)} ({count} images, such as {show(examples[size].name)})"
        for size, count in counts.most_common(3)
    ]
    more = f" and {len(counts) - 3} more" if len(counts) > 3 else ""
    raise DataError(
        f"{where}: images of {len(counts)} sizes (height × width), but a model takes one: "
        f"{', '.join(listed)}{more}; pass image_size= (command line: --image-size) to resize them"
    )


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture, its header read and no pixel decoded; whatever goes wrong is a DataError."""
    try:
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(path, f"{size_text(image.size[::-1])} pixels")
            yield image
    except AgnosticDLError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, "far too many pixels") from error
    except Exception as error:  # a damaged file can raise almost anything in a decoder
        raise _undecodable(path, error) from error


def _too_large(path: Path, found: str) -> DataError:
    return DataError(
        f"{show(path)}: {found}, more than the {MAX_PIXELS:,} that are read; make it smaller"
    )


def _undecodable(path: Path, error: Exception) -> DataError:
    if isinstance(error, OSError) and error.errno is not None:
        return unreadable(path, error)
    if path.is_file() and path.stat().st_size == 0:
        return DataError(f"{show(path)}: an empty file (0 bytes); replace or remove it")
    if isinstance(error, Image.UnidentifiedImageError):
        return DataError(
            f"{show(path)}: not a JPEG, PNG, BMP or WebP picture, whatever its name says; "
            "convert or remove it"
        )
    return DataError(f"{show(path)}: a damaged picture ({reason(error)}); replace or remove it")


def _header(path: Path) -> _Header:
    with _opened(path) as image:
        height, width = image.height, image.width
        upright = _orientation(image) < 5  # from 5 on, height and width change places
        return _Header((height, width) if upright else (width, height), _is_grey(image))


def _decoded(path: Path, mode: str, size: Size) -> NDArray[np.uint8]:
    """One picture, (*size, 1) for mode "L" and (*size, 3) for "RGB"."""
    with _opened(path) as image:
        turn = _TURNS.get(_orientation(image))
        picture = _flat(image)
        if turn is not None:
            picture = picture.transpose(turn)
        if picture.mode != mode:
            picture = picture.convert(mode)
        if picture.size != size[::-1]:
            picture = picture.resize(size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(picture).reshape(*size, -1)


def _flat(image: Image.Image) -> Image.Image:
    """The picture in 8 bits, opaque, grey ("L") or colour ("RGB")."""
    if image.mode.startswith("I"):  # Pillow's own conversion would clip 16 bits at 255
        high_byte = np.asarray(image) >> 8
        return Image.fromarray(high_byte.clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _is_grey(image: Image.Image) -> bool:
    if image.mode not in ("P", "PA"):
        return image.mode in _GREY_MODES or image.mode.startswith("I;16")
    palette = np.reshape(np.array(image.getpalette("RGB"), dtype=np.uint8), (-1, 3))
    return bool((palette == palette[:, :1]).all())


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8; 1 where there is none or it cannot be read."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1  # Pillow would decode the whole file to look for EXIF at its end
    try:
        value: Any = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata is no reason to refuse a sound picture
        return 1
    return value if value in _TURNS else 1


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings from decoders, about odd metadata mostly; what matters here is an error."""
    with warnings.catch_warnings():  # around the pool, not inside it: it is not thread-safe
        warnings.simplefilter("ignore")
        yield
