"""Files that are whole or absent: how a checkpoint reaches the disk and how two of it are kept.

The new content is written beside its place, flushed to the disk and moved there by one rename. The
generation before it stays under a name of its own. Whenever the process, the disk or the machine
stops, at least one whole generation lies there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from agnostic_dl.errors import CheckpointError

#: Bytes handed to the system at once, so that a signal or an error is met soon.
CHUNK = 1 << 20


def previous(path: Path) -> Path:
    """Where the generation before the one at *path* lies."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _replaced(path: Path) -> Path:
    return path.with_name(path.name + ".replaced")


def replace(path: Path, parts: Sequence[bytes | memoryview]) -> None:
    """Make *path* hold *parts*, one after the other, and keep what it held as `previous(path)`.

    CheckpointError, with path and bytes, where the disk refuses; the old file is then untouched.
    """
    size = sum(len(part) for part in parts)
    with _explained(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            sweep(path)
            _write(_partial(path), parts)
            kept = _hold(path)
            os.replace(_partial(path), path)
            if kept:
                os.replace(_replaced(path), previous(path))
            _sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                sweep(path)
            raise


def sweep(path: Path) -> None:
    """Clear up after a save of *path* that was killed: what it had replaced is the one before."""
    _partial(path).unlink(missing_ok=True)
    stray = _replaced(path)
    if stray.is_file() and not stray.is_symlink() and path.exists() and not stray.samefile(path):
        os.replace(stray, previous(path))
    stray.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path}: a checkpoint of {size:,} bytes could not be saved "
            f"({(error.strerror or str(error)).lower()}); an earlier one is kept as it was: make "
            f"room, or save elsewhere"
        ) from error


def _write(path: Path, parts: Sequence[bytes | memoryview]) -> None:
    # Exclusive: never through a link that somebody has laid there.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(descriptor, rest[:CHUNK]) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hold(path: Path) -> bool:
    """Give the file at *path* a second name, by which it outlives its replacement."""
    if not path.exists():
        return False
    try:
        os.link(path, _replaced(path))
    except OSError:  # a file system without hard links: a moment without the newest, never without
        os.replace(path, previous(path))  # any, for the partial file is complete by now
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Make the renames last; some systems and file systems cannot, and need not."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
