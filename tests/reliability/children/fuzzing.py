"""Feed mutated files to the readers. Arguments: FOLDER COUNT SEED.

Prints JSON: how many were tried, read and refused, what was wrong, the slowest in seconds and the
growth of the peak of resident memory in bytes.
"""

from __future__ import annotations

import gzip
import json
import random
import resource
import struct
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from reliability_rows import common

import agnostic_dl as adl
from agnostic_dl.data import load_image
from agnostic_dl.errors import AgnosticDLError, DataError
from agnostic_dl.train import archive

_EDGES = (b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1", b"\0\1\0\0")


def pictures() -> dict[str, bytes]:
    generator = np.random.default_rng(6)
    made = {}
    for kind, mode, shape in (
        ("PNG", "RGB", (12, 9, 3)), ("PNG", "L", (9, 12)), ("PNG", "RGBA", (8, 8, 4)),
        ("JPEG", "RGB", (16, 16, 3)), ("JPEG", "L", (16, 16)), ("BMP", "RGB", (8, 8, 3)),
        ("WEBP", "RGB", (12, 12, 3)),
    ):  # fmt: skip
        buffer = BytesIO()
        noise = generator.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(noise, mode).save(buffer, kind)
        made[f"{kind.lower()}-{mode}"] = buffer.getvalue()
    buffer = BytesIO()
    Image.fromarray(noise[..., 0]).convert("P").save(buffer, "PNG")
    return {**made, "png-P": buffer.getvalue()}


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def mutate(content: bytes, dice: random.Random) -> bytes:
    """Flip, cut, repeat, swap in extreme numbers; mostly near the head, where the sizes are."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 4, 8))):
        reach = len(changed) if dice.random() < 0.5 else min(len(changed), 64)
        place = dice.randrange(max(reach, 1))
        kind = dice.randrange(6)
        if kind == 0 and changed:
            changed[place % len(changed)] ^= 1 << dice.randrange(8)
        elif kind == 1:
            changed[place : place + 4] = dice.choice(_EDGES)
        elif kind == 2:
            del changed[place : len(changed) if dice.random() < 0.3 else place + 5]
        elif kind == 3:
            changed[place:place] = changed[: dice.randrange(40)]
        elif kind == 4:
            changed[place : place + 8] = dice.randbytes(8)
        elif changed:
            changed[place % len(changed)] = dice.randrange(256)
    return bytes(changed)


class Reader:
    """A kind of input: its valid files, and how one of them is written and read."""

    def __init__(
        self, seeds: dict[str, bytes], read: Callable[[Path], object], suffix: str
    ) -> None:
        self.seeds, self.read, self.suffix = seeds, read, suffix


def readers(folder: Path) -> dict[str, Reader]:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (10, 5, 4), dtype=np.uint8)
    labels = (np.arange(10) % 2).astype(np.uint8)
    plain, tags = idx(images), idx(labels)
    store = folder / "idx"
    store.mkdir()
    buffer, packed = BytesIO(), BytesIO()
    np.savez(buffer, x_train=images, y_train=labels.astype(np.int64))
    np.savez_compressed(packed, x=images, y=labels.astype(np.int64))

    def read_idx(path: Path) -> object:
        """The file takes the place of the images or of the labels."""
        kind = "labels" if path.name.startswith("labels") else "images"
        for name, content in (("images-idx3", plain), ("labels-idx1", tags)):
            target = store / f"train-{name}-ubyte"
            target.write_bytes(path.read_bytes() if name.startswith(kind) else content)
        return adl.data.load(store)

    def read_class_folder(path: Path) -> object:
        """The file lies among sound ones in a folder of classes."""
        root = folder / "classes"
        for label in ("a", "b"):
            (root / label).mkdir(parents=True, exist_ok=True)
            for n in range(2):
                (root / label / f"{n}.png").write_bytes(sound)
        (root / "a" / f"2{path.suffix}").write_bytes(path.read_bytes())
        try:
            return adl.data.load(root, image_size=8)
        finally:
            (root / "a" / f"2{path.suffix}").unlink()

    shots = pictures()
    sound = shots["png-RGB"]
    return {
        "idx": Reader({"images": plain, "labels": tags}, read_idx, ""),
        "gz": Reader(
            {"images": gzip.compress(plain), "labels": gzip.compress(tags)}, read_idx, ".gz"
        ),
        "picture": Reader(shots, lambda p: load_image(p, (8, 8, 3)), ".png"),
        "folder": Reader(shots, read_class_folder, ".jpg"),
        "npz": Reader(
            {"npz": buffer.getvalue(), "packed": packed.getvalue()}, adl.data.load, ".npz"
        ),
        "checkpoint": Reader(checkpoints(folder), adl.Trainer.load, ".safetensors"),
        "config": Reader(configs(folder), read_config, ".json"),
    }


def checkpoints(folder: Path) -> dict[str, bytes]:
    common.trainer().save(folder / "seed.safetensors")
    return {"run": (folder / "seed.safetensors").read_bytes()}


def configs(folder: Path) -> dict[str, bytes]:
    """Manifests, to be signed again after the mutation: damage that the digest does not show."""
    manifest, _ = archive.unpack((folder / "seed.safetensors").read_bytes())
    return {"manifest": json.dumps(manifest).encode()}


def read_config(path: Path) -> object:
    try:
        manifest = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: {error}") from error
    _, arrays = archive.unpack((path.parent / "seed.safetensors").read_bytes())
    forged = path.with_name("forged.safetensors")
    forged.write_bytes(b"".join(archive.pack(arrays, manifest)))
    return adl.Trainer.load(forged)


def attempt(reader: Reader, path: Path) -> str | None:
    """What was wrong with how a file was read, if anything was."""
    try:
        reader.read(path)
    except AgnosticDLError as error:
        text = str(error)
        if path.parent.name not in text:
            return f"no path in {text!r}"
        return "several lines" if "\n" in text else "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def main(folder: Path, count: int, seed: int) -> dict:
    dice, kinds = random.Random(seed), readers(folder)
    for reader in kinds.values():  # whatever is loaded or kept once is not the inputs' doing
        for name, content in reader.seeds.items():
            (folder / f"{name}{reader.suffix}").write_bytes(content)
            assert attempt(reader, folder / f"{name}{reader.suffix}") is None, name
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found: dict = {"tried": 0, "read": 0, "refused": 0, "wrong": [], "slowest": 0.0}
    for number in range(count):
        kind = list(kinds)[number % len(kinds)]
        reader = kinds[kind]
        name = dice.choice(list(reader.seeds))
        path = folder / f"{name}{reader.suffix}"
        path.write_bytes(mutate(reader.seeds[name], dice))
        started = time.perf_counter()
        result = attempt(reader, path)
        seconds = time.perf_counter() - started
        found["slowest"] = max(found["slowest"], seconds)
        found["tried"] += 1
        found["read"] += result is None
        found["refused"] += result == "refused"
        if result not in (None, "refused"):
            found["wrong"].append(f"{kind} {number}: {result}"[:300])
    found["grown"] = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
