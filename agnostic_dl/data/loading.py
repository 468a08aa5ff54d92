"""`load`: find out what a path or a name stands for, and read it."""

from __future__ import annotations

import operator
import os
import zipfile
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import SupportsIndex

import numpy as np

from agnostic_dl.data.arrays import parts
from agnostic_dl.data.dataset import Data, Dataset, split
from agnostic_dl.data.host import MAX_PIXELS
from agnostic_dl.data.idx import find_idx, read_idx_folder
from agnostic_dl.data.npz import read_npz
from agnostic_dl.data.paths import listing, show, unreadable, visible
from agnostic_dl.data.refit import Size
from agnostic_dl.errors import DataError, UsageError

_TEST_FRACTION = 0.2

Parts = tuple[Dataset, Dataset | None]


def load(
    path_or_name: str | os.PathLike[str],
    *,
    image_size: int | Sequence[int] | None = None,
    mode: str | None = None,
) -> Data:
    """A dataset of labelled pictures: uint8 in memory, float32 in [0, 1] by the batch.

    Args:
        path_or_name: a folder of IDX files, gzipped or not; a folder of class folders of JPEG, PNG,
            BMP or WebP images, with or without train/ and test/ (or validation/) above; an ``.npz``
            archive; or "digits", 1,797 handwritten digits of 8×8 pixels (a folder of that name is
            "./digits").
        image_size: resize to (height, width), or to a square; needed where sizes differ.
        mode: "L" for grey or "RGB" for colour; default: grey if every picture is grey, else RGB.

    Without a test part, a fifth of each class is held out, always the same one.

    Raises:
        DataError: the path is missing, or does not hold such data; the message says what to do.
        UsageError: an unknown name, or an argument out of range.
        MissingExtraError: NumPy or (for pictures) Pillow is not installed.
    """
    size, mode = _checked_size(image_size), _checked_mode(mode)
    if isinstance(path_or_name, str) and path_or_name in _BUILT_IN:
        where, (train, test) = path_or_name, _BUILT_IN[path_or_name](size, mode)
    else:
        path = _existing(path_or_name)
        where, (train, test) = show(path), _read(path, size, mode)
    if test is None:
        train, test = _split(train, where)
    return Data(train, test, _name(where))


def _read(path: Path, size: Size | None, mode: str | None) -> Parts:
    if not path.is_dir():
        return _read_file(path, size, mode)
    found = find_idx(listing(path, path.resolve())[1])
    if found:
        return read_idx_folder(path, found, size=size, mode=mode)
    from agnostic_dl.data.folders import read_folder  # needs Pillow, which IDX and .npz do not

    return read_folder(path, size=size, mode=mode)


def _read_file(path: Path, size: Size | None, mode: str | None) -> Parts:
    if path.suffix.lower() == ".npz" or _is_npz(path):
        return read_npz(path, size=size, mode=mode)
    raise DataError(
        f"{show(path)}: not a dataset; expected a folder of IDX files or of class folders, or an "
        ".npz archive (extract other archives first, and name the folder of an IDX file)"
    )


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _digits(size: Size | None, mode: str | None) -> Parts:
    """The built-in digits, grey levels 0..16 made [0, 1]; source and licence: digits.txt."""
    content = files("agnostic_dl.data").joinpath("digits.npz").read_bytes()
    with np.load(BytesIO(content), allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]
    pair = images / np.float32(16), labels
    return parts(pair, None, where="digits", size=size, mode=mode)


_BUILT_IN: dict[str, Callable[[Size | None, str | None], Parts]] = {"digits": _digits}


def _existing(path_or_name: str | os.PathLike[str]) -> Path:
    """The path; errors that suggest what may have been meant where there is nothing."""
    try:
        given = os.fspath(path_or_name)
        if not isinstance(given, str) or not given:
            raise TypeError("empty" if isinstance(given, str) else "bytes")
    except TypeError as error:
        raise UsageError(
            f"expected the path of a dataset or a name such as 'digits', got {path_or_name!r}"
        ) from error
    path = Path(os.path.expanduser(given))
    try:
        if path.is_dir() or path.is_file():
            return path
        there = path.exists()
    except OSError as error:
        raise unreadable(path, error) from error
    if there:
        raise DataError(f"{show(path)}: neither a file nor a folder; expected a dataset")
    raise _nothing_there(given, path)


def _nothing_there(given: str, path: Path) -> UsageError | DataError:
    try:
        nearby = [name for name in os.listdir(path.parent) if visible(name)]
    except (OSError, ValueError):
        nearby = []
    looks_like_name = given == path.name and not path.suffix
    known = [*_BUILT_IN, *nearby] if looks_like_name else nearby
    matches = [show(match) for match in get_close_matches(path.name, known)]
    hint = f"; did you mean {' or '.join(map(repr, matches))}?" if matches else ""
    if looks_like_name:
        built_in = ", ".join(_BUILT_IN)
        return UsageError(
            f"{show(given)!r}: no such file or folder, and no built-in dataset of that name "
            f"(there are: {built_in}){hint or '; check the spelling'}"
        )
    return DataError(f"{show(path)}: no such file or folder{hint or '; check the path'}")


def _split(dataset: Dataset, where: str) -> tuple[Dataset, Dataset]:
    try:
        return split(dataset, _TEST_FRACTION)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _name(where: str) -> str:
    name = Path(where).resolve().name
    return (name[:-4] if name.lower().endswith(".npz") else name) or "data"


def _checked_mode(mode: str | None) -> str | None:
    if mode is None:
        return None
    if not isinstance(mode, str) or mode.upper() not in ("L", "RGB"):
        raise UsageError(f"mode must be 'L' (grey), 'RGB' (colour) or None, got {mode!r}")
    return mode.upper()


def _checked_size(image_size: int | Sequence[int] | None) -> Size | None:
    """(height, width) of what the caller gave: nothing, one number or two."""
    if image_size is None:
        return None
    try:
        given = [image_size] * 2 if isinstance(image_size, SupportsIndex) else list(image_size)
        height, width = (operator.index(side) for side in given)
    except (TypeError, ValueError) as error:
        raise _bad_size(image_size) from error
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise _bad_size(image_size)
    return height, width


def _bad_size(image_size: object) -> UsageError:
    return UsageError(
        "image_size must be a positive integer or a pair (height, width) of them, of at most "
        f"{MAX_PIXELS:,} pixels, got {image_size!r}"
    )
