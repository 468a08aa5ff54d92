"""Read and write where links and names lead elsewhere. Argument: FOLDER; prints lines of JSON."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import socket
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from reliability_rows import audit, common

import agnostic_dl as adl
from agnostic_dl.data import load_image
from agnostic_dl.errors import AgnosticDLError

Case = tuple[str, Callable[[Path, Path], None]]


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def idx(shape: tuple[int, ...]) -> bytes:
    head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return head + bytes(i % 2 for i in range(int(np.prod(shape))))


def make_outside(outside: Path) -> None:
    """What a dataset from elsewhere must not reach: pictures, IDX files, texts."""
    (outside / "class").mkdir(parents=True)
    (outside / "secret.png").write_bytes(png(1))
    (outside / "class" / "secret.png").write_bytes(png(2))
    (outside / "images").write_bytes(idx((4, 3, 3)))
    (outside / "labels.gz").write_bytes(gzip.compress(idx((4,))))
    (outside / "secret.txt").write_text("secret")


def make_classes(root: Path) -> None:
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for n in range(3):
            (root / label / f"{n}.png").write_bytes(png(n))


def link(name: str, target: str) -> Callable[[Path, Path], None]:
    """A link in a folder of classes; OUT stands for the folder outside."""

    def make(root: Path, outside: Path) -> None:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(target.replace("OUT", str(outside)))

    return make


def chain(length: int) -> Callable[[Path, Path], None]:
    def make(root: Path, outside: Path) -> None:
        target = outside / "secret.png"
        for n in range(length):
            (root / f".step{n}").symlink_to(target)
            target = root / f".step{n}"
        (root / "a" / "chain.png").symlink_to(target)

    return make


def loop(root: Path, outside: Path) -> None:
    (root / "a" / "x.png").symlink_to("y.png")
    (root / "a" / "y.png").symlink_to("x.png")


def fifo(name: str) -> Callable[[Path, Path], None]:
    return lambda root, outside: os.mkfifo(root / name)


def listening(root: Path, outside: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(root / "a" / "s.png"))
    server.close()


def device(root: Path, outside: Path) -> None:
    try:
        os.mknod(root / "a" / "zero.png", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:  # only root makes devices; a link to one serves as well
        (root / "a" / "zero.png").symlink_to("/dev/zero")


def folders() -> Iterator[Case]:
    for name, target in (
        ("a/l.png", "OUT/secret.png"), ("a/l.png", "../../outside/secret.png"),
        ("a/l.png", "../../../../../../../../etc/passwd"), ("a/l.png", "/etc/passwd"),
        ("a/l.png", "/dev/zero"), ("a/l.png", "/proc/self/environ"), ("a/l.png", "/"),
        ("a/l.png", "l.png"), ("a/l.png", "missing.png"), ("a/l.txt", "OUT/secret.txt"),
        ("c", "OUT/class"), ("c", "../outside/class"), ("c", "/"), ("c", ".."), ("c", "."),
        ("c", "c"), ("train", "OUT"), ("test", "OUT"), ("a/sub", "OUT/class"),
        ("l.png", "OUT/secret.png"), ("train-images-idx3-ubyte", "OUT/images"),
        ("train-labels-idx1-ubyte.gz", "OUT/labels.gz"), ("a/l.png", "OUT/class/../secret.png"),
    ):  # fmt: skip
        yield f"link {name} to {target}", link(name, target)
    for length in (2, 5):
        yield f"a chain of {length} links", chain(length)
    yield "a loop of links", loop
    yield "a pipe", fifo("a/p.png")
    yield "a pipe for an IDX file", fifo("train-images-idx3-ubyte")
    yield "a socket", listening
    yield "a device", device


def member(name: str, mode: int = 0o644) -> Callable[[Path, Path], None]:
    """An npz of sound arrays and one more member."""

    def make(root: Path, outside: Path) -> None:
        with zipfile.ZipFile(root / "d.npz", "w") as archive:
            for key, array in (
                ("x", np.zeros((4, 3, 3), np.uint8)), ("y", np.arange(4) % 2), (name, np.ones(3))
            ):  # fmt: skip
                buffer = io.BytesIO()
                np.save(buffer, array)
                info = zipfile.ZipInfo(f"{key}.npy".replace("OUT", str(outside)))
                info.external_attr = (mode if key == name else 0o644) << 16
                archive.writestr(info, buffer.getvalue())

    return make


def tar(root: Path, outside: Path) -> None:
    with tarfile.open(root / "d.npz", "w") as archive:
        info = tarfile.TarInfo("../../outside/written")
        archive.addfile(info, io.BytesIO(b""))


def archives() -> Iterator[Case]:
    yield "member ../../outside/written", member("../../outside/written")
    yield "member with an absolute name", member("OUT/written")
    yield "member with backslashes", member("..\\..\\outside\\written")
    yield "member that is a link", member("x_link", 0o120777)
    yield "a tar under our name", tar


def planted(name: str) -> Callable[[Path, Path], None]:
    """A link to a file outside, where a save will write."""
    return lambda root, outside: (root / name).symlink_to(outside / "secret.txt")


def saves() -> Iterator[Case]:
    for name in ("model.safetensors", "model.safetensors.partial", "model.safetensors.replaced",
                 "model.previous.safetensors"):  # fmt: skip
        yield f"a save over a link {name}", planted(name)


def tree_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    return digest.hexdigest()


def attempt(root: Path, outside: Path, act: Callable[[Path], object]) -> str | None:
    before = tree_hash(outside)
    with audit.watched(root) as seen:
        try:
            act(root)
        except AgnosticDLError as error:
            if str(root) not in str(error):
                return f"no path in {error}"
    if tree_hash(outside) != before:
        return "the folder outside was written to"
    # NumPy's reader of headers compiles a literal, which runs nothing: what counts here is files.
    touched = [event for event in seen if event.startswith(("open", "os."))]
    return f"did {touched[:3]}" if touched else None


def read_pictures(root: Path) -> None:
    adl.data.load(root, image_size=6)


def main(folder: Path) -> None:
    outside, trainer = folder / "outside", common.trainer()
    make_outside(outside)
    make_classes(folder / "sound")
    adl.data.load(folder / "sound")
    load_image(folder / "sound" / "a" / "0.png", (6, 6, 1))
    trainer.save(folder / "sound")
    member("x2")(folder, outside)
    adl.data.load(folder / "d.npz")
    groups: list[tuple[Iterator[Case], Callable[[Path], object]]] = [
        (folders(), read_pictures),
        (archives(), lambda root: adl.data.load(root / "d.npz")),
        (saves(), trainer.save),
    ]
    number = 0
    for cases, act in groups:
        for name, make in cases:
            root, number = folder / f"root{number}", number + 1
            make_classes(root)
            make(root, outside)
            problem = attempt(root, outside, act)
            print(json.dumps({"name": name, "problem": problem}), flush=True)
    own = folder / "own"
    make_classes(own)
    link("a/l.png", "../b/0.png")(own, outside)  # within the folder links are followed
    problem = attempt(own, outside, read_pictures)
    print(json.dumps({"name": "a link within the folder", "problem": problem}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
