"""Looking at folders without trusting them: hidden files, links, odd names, unreadable entries."""

from __future__ import annotations

import os
from pathlib import Path

from agnostic_dl.errors import DataError

_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}  # besides every name with a leading dot
_PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "t10k": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}


def show(path: os.PathLike[str] | str) -> str:
    """The path for a one-line message: control characters and undecodable bytes escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in os.fspath(path))


def reason(error: BaseException) -> str:
    """What an exception says, on one line and without the path that the message names anyway."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return show(text.partition("\n")[0].lower() if isinstance(error, OSError) else text[:200])


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a path that the system does not let us read."""
    return DataError(f"{show(path)}: cannot be read ({reason(error)}); check path and permissions")


def part_of(name: str) -> str | None:
    """Which part of a dataset a file or folder name stands for: train, test, validation or None."""
    return _PARTS.get(name.lower())


def listing(folder: Path, root: Path) -> tuple[list[Path], list[Path]]:
    """The visible (folders, files) of a folder, each sorted by name.

    Hidden files and what file managers leave behind are passed over, and so is what is neither file
    nor folder (a pipe would block its reader). A link that leads out of `root`, a resolved path, is
    refused: a dataset from elsewhere must not reach into the reader's other files.
    """
    try:
        with os.scandir(folder) as scan:
            found = sorted((e for e in scan if visible(e.name)), key=lambda entry: entry.name)
        for entry in found:
            if entry.is_symlink():
                _check_link(Path(entry.path), root)
        folders = [Path(entry.path) for entry in found if entry.is_dir()]
        return folders, [Path(entry.path) for entry in found if entry.is_file()]
    except OSError as error:
        raise unreadable(folder, error) from error


def visible(name: str) -> bool:
    """Whether a name is neither hidden nor what file managers leave behind."""
    return not name.startswith(".") and name.lower() not in _CLUTTER


def _check_link(link: Path, root: Path) -> None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links, before Python 3.13
        raise DataError(f"{show(link)}: a symbolic link that leads nowhere; remove it") from error
    if not target.is_relative_to(root):
        raise DataError(
            f"{show(link)}: a symbolic link to {show(target)}, outside the dataset's folder; "
            "links are followed only within it: put a copy in its place"
        )
