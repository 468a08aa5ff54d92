"""A folder of class folders of pictures, with or without train/ and test/ above them."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np

from agnostic_dl.data.dataset import Dataset
from agnostic_dl.data.images import read_images
from agnostic_dl.data.paths import listing, part_of, show
from agnostic_dl.data.refit import Size
from agnostic_dl.errors import DataError

ClassFiles = dict[str, list[Path]]  # class name -> its pictures, both in the order of their names

_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp"}
# Pictures all the same: passing over them in silence would lose data.
_FOREIGN = {".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".ppm", ".pgm"}


def read_folder(
    root: Path, *, size: Size | None, mode: str | None
) -> tuple[Dataset, Dataset | None]:
    """The training part and, where there is one, the test part of a folder of class folders.

    Class k is the k-th folder name in sorted order. DataError for a folder of another form and for
    files that `read_images` refuses.
    """
    train, test = _find_parts(root)
    files = [*chain(*train.values()), *chain(*(test or {}).values())]
    images = read_images(files, where=show(root), size=size, mode=mode)
    count = sum(map(len, train.values()))
    first = Dataset(images[:count], _labels(train), tuple(train))
    return first, Dataset(images[count:], _labels(test), tuple(train)) if test else None


def _labels(classes: ClassFiles) -> np.ndarray:
    return np.repeat(np.arange(len(classes)), [len(files) for files in classes.values()])


def _find_parts(root: Path) -> tuple[ClassFiles, ClassFiles | None]:
    """The files of the training and of the test part; the second is None where there is none."""
    resolved = root.resolve()
    parts = _part_folders(root, resolved)
    if "train" not in parts:
        return _class_files(root, resolved), None
    train = _class_files(parts["train"], resolved)
    held_out = parts.get("test") or parts.get("validation")
    if held_out is None:
        return train, None
    test = _class_files(held_out, resolved)
    _check_same_classes(train, test, held_out)
    return train, test


def _part_folders(root: Path, resolved: Path) -> dict[str, Path]:
    """train/, test/ and validation/ by their part; empty where the folders are the classes.

    "train" may well be a class (of vehicles): it is a part only if it holds folders itself.
    """
    found: dict[str, Path] = {}
    folders = listing(root, resolved)[0]
    for folder in folders:
        part = part_of(folder.name)
        if part and part in found:
            raise DataError(
                f"{show(root)}: {show(found[part].name)} and {show(folder.name)} both look like "
                f"the {part} part; keep one"
            )
        if part:
            found[part] = folder
    nested = {part for part, folder in found.items() if listing(folder, resolved)[0]}
    if nested and "train" not in nested:
        name = found[min(nested)].name
        raise DataError(
            f"{show(root)}: {show(name)}/ holds class folders, but train/ does not; expected "
            "train/<class>/ beside it"
        )
    if "train" in found and not nested and len(found) == len(folders):
        raise DataError(
            f"{show(found['train'])}: holds no class folders; expected <class>/<image>: put the "
            "images into one folder for each class"
        )
    return found if nested else {}


def _class_files(folder: Path, root: Path) -> ClassFiles:
    """The pictures of each class folder of `folder`; DataError for anything ambiguous."""
    folders, files = listing(folder, root)
    loose = [path for path in files if path.suffix.lower() in _SUFFIXES]
    if loose:
        raise DataError(
            f"{show(folder)}: {len(loose)} images (such as {show(loose[0].name)}) lie outside any "
            "class folder; expected <class>/<image>: put them into one folder for each class"
        )
    if not folders:
        found = f"only {show(files[0].name)}" if len(files) == 1 else f"{len(files)} other files"
        raise DataError(
            f"{show(folder)}: {found if files else 'an empty folder'}; expected class folders of "
            "JPEG, PNG, BMP or WebP images, or IDX files such as train-images-idx3-ubyte.gz"
        )
    classes = {_class_name(path): _pictures(path, root) for path in folders}
    if len(classes) == 1:
        raise DataError(
            f"{show(folder)}: one class only, {next(iter(classes))!r}; a classifier needs at "
            "least two class folders"
        )
    return classes


def _class_name(folder: Path) -> str:
    if not folder.name.isprintable():
        raise DataError(
            f"{show(folder)}: the class name has characters that cannot be printed; rename it"
        )
    return folder.name


def _pictures(folder: Path, root: Path) -> list[Path]:
    """The picture files of one class folder; other files, such as notes, are passed over."""
    folders, files = listing(folder, root)
    if folders:
        raise DataError(
            f"{show(folder)}: holds the folder {show(folders[0].name)}, but expected the images of "
            f"one class; if this is the dataset, load {show(folder)} itself"
        )
    foreign = [path for path in files if path.suffix.lower() in _FOREIGN]
    if foreign:
        raise DataError(
            f"{show(foreign[0])}: {foreign[0].suffix} files are not read; convert it and its like "
            f"({len(foreign)} in this folder) to PNG or JPEG"
        )
    pictures = [path for path in files if path.suffix.lower() in _SUFFIXES]
    if not pictures:
        raise DataError(
            f"{show(folder)}: a class folder without images ({len(files)} other files); expected "
            "JPEG, PNG, BMP or WebP: fill or remove it, or load it itself if it is the dataset"
        )
    return pictures


def _check_same_classes(train: ClassFiles, test: ClassFiles, held_out: Path) -> None:
    missing, unknown = sorted(train.keys() - test.keys()), sorted(test.keys() - train.keys())
    found = [f"lacks {', '.join(map(repr, missing[:5]))}"] if missing else []
    found += [f"has {', '.join(map(repr, unknown[:5]))} besides"] if unknown else []
    if found:
        raise DataError(
            f"{show(held_out)}: {' and '.join(found)}; expected the {len(train)} class folders of "
            "the training part"
        )
