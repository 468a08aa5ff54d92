"""Load checkpoints that try to run code. Arguments: FOLDER; prints a line of JSON for each."""

from __future__ import annotations

import copy
import io
import json
import pickle
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from reliability_rows import audit, common

import agnostic_dl as adl
from agnostic_dl.errors import AgnosticDLError
from agnostic_dl.train import archive


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("archive/data.pkl", content)
    return buffer.getvalue()


def npy(path: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb(path)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def bodies(victim: Path) -> Iterator[tuple[str, bytes]]:
    """Other formats under our name."""
    bomb = pickle.dumps(Bomb(victim))
    yield "a pickle", bomb
    yield "an old pickle", pickle.dumps(Bomb(victim), protocol=0)
    yield "a zip of a pickle, as torch.save makes it", zipped(bomb)
    yield "an npy of objects", npy(victim)
    yield "python source", f"open({str(victim)!r}, 'w')".encode()
    yield "a safetensors header that is a pickle", len(bomb).to_bytes(8, "little") + bomb
    yield "a header of 2^62 bytes", (1 << 62).to_bytes(8, "little") + bomb


def manifests(good: dict[str, Any], victim: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Manifests with a right digest that name code, files and hosts."""

    def changed(**entries: Any) -> dict[str, Any]:
        return {**copy.deepcopy(good), **entries}

    for name in ("os.system", "builtins.eval", "subprocess:run", "agnostic_dl.cli.main", "Module",
                 "__import__", "../../layers", "http://127.0.0.1:9/layer.py"):  # fmt: skip
        layer = {"layer": name, "arguments": {"command": f"touch {victim}"}}
        yield f"layer {name}", changed(model=layer)
    deep: dict[str, Any] = {"layer": "Sequential", "layers": {}}
    for _ in range(400):
        deep = {"layer": "Sequential", "layers": {"0": deep}}
    yield "a nest of 400 layers", changed(model=deep)
    yield (
        "a layer with class attributes",
        changed(
            model={"layer": "Linear", "arguments": {"__class__": "os.system", "in_features": 1}}
        ),
    )
    for name in ("os:system", "builtins", "/etc/passwd", "http://127.0.0.1:9/x", "../adam"):
        optimizer = {**good["optimizer"], "name": name}
        yield f"optimizer {name}", changed(optimizer=optimizer)
    for name in ("Schedule", "math", "dataclass", "__builtins__"):
        optimizer = copy.deepcopy(good["optimizer"])
        optimizer["hyperparameters"]["learning_rate"] = {"schedule": name, "x": str(victim)}
        yield f"schedule {name}", changed(optimizer=optimizer)
    yield "loss os.system", changed(loss="os.system")
    yield "metric eval", changed(metrics=["eval"])
    yield "plugins from elsewhere", changed(
        made_with={"backend": "evil", "versions": {}, "plugins": [
            {"kind": "optimizer", "name": "evil.module:attr", "distribution": "x", "version": "1"}
        ]}
    )  # fmt: skip
    yield "file references in info", changed(info={"file": "file:///etc/passwd", "$ref": "/etc/"})


def attempt(path: Path, victim: Path, harmless: bool) -> str | None:
    with audit.watched(path) as seen, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            adl.Trainer.load(path)
            problem = None if harmless else "was loaded"
        except AgnosticDLError as error:
            problem = None if str(path) in str(error) else f"no path in {error}"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
    # Looking for the generation before is no foreign open: it belongs to the checkpoint.
    foreign = [event for event in seen if not event.endswith("model.previous.safetensors")]
    if victim.exists():
        return "the payload ran"
    return f"did {foreign[:3]}" if foreign else problem


def main(folder: Path) -> None:
    path, victim = folder / "model.safetensors", folder / "victim"
    common.trainer().save(path)
    good, arrays = archive.unpack(path.read_bytes())
    forged = {n: b"".join(archive.pack(arrays, m)) for n, m in manifests(good, victim)}
    adl.Trainer.load(path)
    for warm in ("optimizer ../adam", "schedule math"):  # what errors look at is looked at now
        path.write_bytes(forged[warm])
        attempt(path, victim, False)
    for name, content in {**dict(bodies(victim)), **forged}.items():
        path.write_bytes(content)
        problem = attempt(path, victim, harmless="info" in name)
        print(json.dumps({"name": name, "problem": problem}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
