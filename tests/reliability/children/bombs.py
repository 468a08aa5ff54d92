"""Read small files that would grow to gigabytes. Arguments: FOLDER full|short; prints JSON."""

from __future__ import annotations

import json
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from reliability_rows import common

import agnostic_dl as adl
from agnostic_dl.data import load_image
from agnostic_dl.errors import DataError

_MOST = 64 << 20


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def zeros(count: int) -> bytes:
    """Zlib data of that many zeros, made without holding them."""
    packer, out = zlib.compressobj(9), []
    block = bytes(1 << 20)
    for _ in range(count >> 20):
        out.append(packer.compress(block))
    return b"".join([*out, packer.compress(bytes(count & 0xFFFFF)), packer.flush()])


def png(width: int, height: int, depth: int, colour: int, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    pixels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * depth / 8 * width + 1
    data = zeros(min(int(pixels * height), 300 << 20))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + extra + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )  # fmt: skip


def huge_text() -> bytes:
    """A small picture with a comment that unpacks to 400 MB."""
    return png(4, 4, 8, 0, chunk(b"zTXt", b"Comment\0\0" + zeros(400 << 20)))


def jpeg(width: int, height: int) -> bytes:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, width, height, 1, 24, 0, 0,
                               0, 0, 0, 0)  # fmt: skip


def idx_gz(sizes: tuple[int, ...], held: int) -> bytes:
    header = bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)
    packer = zlib.compressobj(9, wbits=31)
    out = [packer.compress(header)]
    block = bytes(1 << 20)
    out += [packer.compress(block) for _ in range(held >> 20)]
    return b"".join([*out, packer.flush()])


def npz(path: Path, shape: tuple[int, ...], held: int) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header = header.ljust(118) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in ("x_train.npy", "y_train.npy"):
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
                for _ in range(held >> 20):
                    file.write(bytes(1 << 20))


def bombs(folder: Path, full: bool) -> Iterator[tuple[str, Path, Callable[[Path], object]]]:
    """Name, file and reader of each; making the large ones takes most of the time."""

    def picture(path: Path) -> object:
        return load_image(path, (8, 8, 3))

    pictures: dict[str, Callable[[], bytes]] = {
        "wide.jpg": lambda: jpeg(65_500, 65_500),
        "tall.bmp": lambda: bmp(20_000, 60_000),
        "alpha.png": lambda: png(8_193, 8_193, 8, 6),
        "grey.png": lambda: png(30_000, 30_000, 8, 0),
        "colour.png": lambda: png(20_000, 20_000, 8, 2),
        "bits.png": lambda: png(60_000, 60_000, 1, 3),
        "deep.png": lambda: png(10_000, 10_000, 16, 2),
        "comment.png": huge_text,
    }
    for name in pictures if full else list(pictures)[:2]:
        (folder / name).write_bytes(pictures[name]())
        yield name, folder / name, picture
    labels = idx_gz((2,), 0)
    packed = [("less than it says", (1 << 20, 100, 100), 512 << 20 if full else 128 << 20)]
    if full:
        packed += [
            ("honest", (4 << 20, 20, 20), 1600 << 20),  # 1.6 GB in 1.6 MB
            ("more than it says", (2, 4, 4), 1024 << 20),
        ]
    for name, sizes, held in packed:
        store = folder / name
        store.mkdir()
        (store / "train-images-idx3-ubyte.gz").write_bytes(idx_gz(sizes, held))
        (store / "train-labels-idx1-ubyte.gz").write_bytes(labels)
        yield f"gzip, {name}", store, adl.data.load
    size = 1 << 30 if full else 1 << 27
    npz(folder / "bomb.npz", (1024, 1024, size >> 20), size)
    yield "npz", folder / "bomb.npz", adl.data.load


def peak() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))


def attempt(path: Path, read: Callable[[Path], object]) -> str | None:
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
    before, started = common.resident(), time.perf_counter()
    try:
        read(path)
        problem = "was read"
    except DataError as error:
        problem = None if path.name in str(error) else f"no path in {error}"
    grown, seconds = peak() - before, time.perf_counter() - started
    if grown > _MOST:
        return f"took {grown >> 20} MB, {problem or 'then refused'}"
    return f"took {seconds:.1f} s" if seconds > 5 else problem


if __name__ == "__main__":
    place = Path(sys.argv[1])
    adl.data.load("digits")
    (place / "first.bmp").write_bytes(bmp(1, 1) + bytes(4))
    load_image(place / "first.bmp", (8, 8, 3))
    for label, file, reader in bombs(place, sys.argv[2] == "full"):
        print(json.dumps({"name": label, "problem": attempt(file, reader)}), flush=True)
