"""NumPy's ``.npz`` archives, under the key names that Keras, MedMNIST and others use."""

from __future__ import annotations

import zipfile
from math import prod
from pathlib import Path
from typing import Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from agnostic_dl.data.arrays import Pair, parts
from agnostic_dl.data.dataset import Dataset
from agnostic_dl.data.host import most_unpacked
from agnostic_dl.data.paths import reason, show, unreadable
from agnostic_dl.data.refit import Size
from agnostic_dl.errors import AgnosticDLError, DataError

_TRAIN_KEYS = (
    ("x_train", "y_train"),
    ("train_images", "train_labels"),
    ("x", "y"),
    ("images", "labels"),
)
_TEST_KEYS = (
    ("x_test", "y_test"),
    ("test_images", "test_labels"),
    ("x_val", "y_val"),
    ("val_images", "val_labels"),
)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npz(path: Path, *, size: Size | None, mode: str | None) -> tuple[Dataset, Dataset | None]:
    """The training part and, where it has one, the test part of an archive.

    DataError for a file that is no archive, keys that are missing, pickled objects (never loaded),
    and arrays that are damaged or not pictures with labels.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            train, test = _pairs(archive, path)
    except AgnosticDLError:
        raise
    except PermissionError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # zipfile, zlib and numpy's header parser raise a dozen kinds
        raise DataError(
            f"{show(path)}: not a readable .npz archive ({reason(error)}); "
            "write it with numpy.savez or numpy.savez_compressed"
        ) from error
    return parts(train, test, where=show(path), size=size, mode=mode)


def _pairs(archive: zipfile.ZipFile, path: Path) -> tuple[Pair, Pair | None]:
    members = {
        info.filename.removesuffix(".npy").lower(): info
        for info in archive.infolist()
        if info.filename.endswith(".npy")
    }
    train = _chosen(members, _TRAIN_KEYS, path)
    if train is None:
        raise DataError(
            f"{show(path)}: no training images and labels; expected the keys "
            f"{_either(_TRAIN_KEYS)}, got {show(', '.join(sorted(members))) or 'none'}"
        )
    test = _chosen(members, _TEST_KEYS, path)
    first = _array(archive, train[0], path), _array(archive, train[1], path)
    if test is None:
        return first, None
    return first, (_array(archive, test[0], path), _array(archive, test[1], path))


def _chosen(
    members: dict[str, zipfile.ZipInfo], choices: tuple[tuple[str, str], ...], path: Path
) -> tuple[zipfile.ZipInfo, zipfile.ZipInfo] | None:
    """The first pair of keys that is there; DataError for half a pair."""
    for images, labels in choices:
        present = {images, labels} & members.keys()
        if len(present) == 2:
            return members[images], members[labels]
        if present:
            missing = ({images, labels} - present).pop()
            raise DataError(
                f"{show(path)}: has the key {present.pop()!r}, but not {missing!r}; "
                f"got {show(', '.join(sorted(members)))}"
            )
    return None


def _either(choices: tuple[tuple[str, str], ...]) -> str:
    return " or ".join(f"{images}, {labels}" for images, labels in choices)


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    """One array, after its header was held against the sizes in the archive."""
    what = f"{show(path)}: {show(info.filename)}"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{what}: compressed in a way that numpy does not write; save it anew")
    with archive.open(info) as stream:
        version = npy.read_magic(stream)
        if version not in _HEADERS:
            raise DataError(f"{what}: npy format {version} is not read here; save plain numbers")
        shape, _, dtype = _HEADERS[version](stream)
        promised = stream.tell() + prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise DataError(
            f"{what}: holds pickled Python objects, which could run code and are never loaded; "
            "save one plain array of numbers (images of one size)"
        )
    if promised != info.file_size or promised > most_unpacked(path.stat().st_size):
        raise DataError(f"{what}: damaged: its header promises {promised:,} bytes; save it anew")
    with archive.open(info) as stream:
        array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
    return array
