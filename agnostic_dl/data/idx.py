"""IDX, the format of MNIST: a magic number, the sizes, then the bytes; gzipped or not."""

from __future__ import annotations

import gzip
import os
import re
import struct
import zlib
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from agnostic_dl.data.arrays import Pair, parts
from agnostic_dl.data.dataset import Dataset
from agnostic_dl.data.host import allocate, most_unpacked
from agnostic_dl.data.paths import part_of, reason, show
from agnostic_dl.data.refit import Size
from agnostic_dl.errors import DataError

_NAME = re.compile(r"(.*?)(images|labels)[-.]idx\d[-.]ubyte(\.gz)?", re.IGNORECASE)
_UNSIGNED_BYTE = 0x08
_CHUNK = 1 << 20


def find_idx(files: list[Path]) -> dict[tuple[str, str], Path]:
    """The IDX files among `files` by (part, kind): ("train", "images"), ("test", "labels"), …

    A file lying there both plain and gzipped counts once. DataError for two of one kind.
    """
    found: dict[tuple[str, str], Path] = {}
    for path in files:  # sorted, so that the plain file comes before its .gz
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        words = re.split(r"[-_.]", match[1].rstrip("-_."))
        key = part_of(words[-1]) or "train", match[2].lower()
        first = found.setdefault(key, path)
        if path not in (first, first.with_name(first.name + path.suffix)):
            raise DataError(
                f"{show(path.parent)}: two IDX files of {key[0]} {key[1]}, {show(first.name)} and "
                f"{show(path.name)}; keep one dataset to a folder"
            )
    return found


def read_idx_folder(
    folder: Path, found: dict[tuple[str, str], Path], *, size: Size | None, mode: str | None
) -> tuple[Dataset, Dataset | None]:
    """The training part and, where it has one, the test part of a folder of IDX files.

    DataError for a file that is missing, damaged or does not match its partner.
    """
    train = _pair(folder, found, "train")
    held_out = next((p for p in ("test", "validation") if any(k[0] == p for k in found)), None)
    test = _pair(folder, found, held_out) if held_out else None
    return parts(train, test, where=show(folder), size=size, mode=mode)


def _pair(folder: Path, found: dict[tuple[str, str], Path], part: str) -> Pair:
    usual = "t10k" if part == "test" else part
    for kind, dimensions in (("images", 3), ("labels", 1)):
        if (part, kind) not in found:
            raise DataError(
                f"{show(folder)}: no IDX file of the {part} {kind}; expected a name like "
                f"{usual}-{kind}-idx{dimensions}-ubyte or {usual}-{kind}-idx{dimensions}-ubyte.gz"
            )
    return read_idx(found[part, "images"], (3, 4)), read_idx(found[part, "labels"], (1,))


def read_idx(path: Path, dimensions: tuple[int, ...]) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes with one of these numbers of dimensions.

    Sizes are checked against the file's before anything is allocated. DataError for a file that is
    unreadable, damaged, of another kind, or shorter or longer than its header says.
    """
    try:
        with open(path, "rb") as file:
            on_disk = os.fstat(file.fileno()).st_size
            if file.read(2) != b"\x1f\x8b":  # by content: browsers unzip and keep the name
                file.seek(0)
                return _array(path, file, dimensions, least=on_disk, most=on_disk)
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as stream:
                return _array(path, stream, dimensions, least=0, most=most_unpacked(on_disk))
    except (OSError, EOFError, zlib.error) as error:
        hint = "check path and permissions" if isinstance(error, PermissionError) else "get it anew"
        raise DataError(f"{show(path)}: cannot be read ({reason(error)}); {hint}") from error


def _array(
    path: Path,
    stream: IO[bytes] | gzip.GzipFile,
    dimensions: tuple[int, ...],
    least: int,
    most: int,
) -> NDArray[np.uint8]:
    shape = _shape(path, stream, dimensions)
    promised = 4 + 4 * len(shape) + prod(shape)
    if promised > most or promised < least:
        raise DataError(
            f"{show(path)}: the header promises {promised:,} bytes {shape}, but the file "
            f"{'has' if least else 'can hold at most'} {most:,}; it is damaged: get it anew"
        )
    array = allocate(shape, np.uint8, show(path))
    _fill(path, stream, array.reshape(-1).data)
    return array


def _shape(
    path: Path, stream: IO[bytes] | gzip.GzipFile, dimensions: tuple[int, ...]
) -> tuple[int, ...]:
    """The sizes in the header, none of them zero."""
    magic = stream.read(4)
    beginnings = [bytes([0, 0, _UNSIGNED_BYTE, count]) for count in dimensions]
    if magic not in beginnings:
        wanted = " or ".join(f"0000080{count}" for count in dimensions)
        raise DataError(
            f"{show(path)}: not the IDX file expected here: it must begin with the bytes "
            f"{wanted} (hexadecimal), got {magic.hex() or 'an empty file'}"
        )
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"{show(path)}: truncated within its header; get it anew")
    shape = struct.unpack(f">{magic[3]}I", sizes)
    if 0 in shape:
        raise DataError(f"{show(path)}: an IDX file of no data, sizes {shape}; get it anew")
    return shape


def _fill(path: Path, stream: IO[bytes] | gzip.GzipFile, buffer: memoryview) -> None:
    """Read exactly the buffer's length; in chunks, for gzip would hold the whole twice."""
    done = 0
    while done < len(buffer):
        chunk = stream.read(min(_CHUNK, len(buffer) - done))
        if not chunk:
            raise DataError(
                f"{show(path)}: truncated: {done:,} of {len(buffer):,} bytes of data; get it anew"
            )
        buffer[done : done + len(chunk)] = chunk
        done += len(chunk)
    if stream.read(1):  # at the end this also makes gzip compare its checksum
        raise DataError(f"{show(path)}: more data than its header says; get it anew")
