"""Row 17: the same run gives the same bits."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from reliability_rows.common import finish, start
from reliability_rows.table import Outcome, row


def _pictures(folder: Path) -> list[Path]:
    """Two classes of noise, 28 × 28."""
    generator, paths = np.random.default_rng(17), []
    for label in ("cat", "dog"):
        for number in range(128):
            path = folder / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = generator.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(noise).save(path)
            paths.append(path)
    return paths


def _copy_shuffled(paths: list[Path], folder: Path, dice: random.Random) -> Path:
    """The same files, created in another order: so the system lists them in another."""
    for path in dice.sample(paths, len(paths)):
        target = folder / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return folder


def _hashes(outcome: Outcome, folders: list[Path], pin: str, environments: list[dict]) -> set[str]:
    found = set()
    for folder, changes in zip(folders, environments, strict=True):
        code, out, err = finish(start("hashing.py", folder, pin, **changes), timeout=120)
        if outcome.check(code == 0, err[-300:]):
            found.add(out.strip())
    return found


@row(17, "determinism", "10 runs, 1 hash; pinned: 1 hash over 1 and 2 threads")
def repeated(full: bool) -> Outcome:
    """Files in another order, other hash seeds; then other numbers of threads."""
    outcome, dice = Outcome(), random.Random(17)
    runs = 10 if full else 2
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        paths = _pictures(root / "first")
        folders = [_copy_shuffled(paths, root / str(n), dice) for n in range(runs)]
        seeds = [{"PYTHONHASHSEED": str(n + 1)} for n in range(runs)]
        same = _hashes(outcome, folders, "no", seeds)
        threads = [
            {"AGNOSTIC_DL_NUMPY_THREADS": str(n), "OPENBLAS_NUM_THREADS": str(n)} for n in (1, 2)
        ]
        pinned = _hashes(outcome, folders[:2], "yes", threads)
        free = _hashes(outcome, folders[:2], "no", threads) if full else set()
    outcome.note(f"{len(same)} hash of {runs} runs; pinned, 1 and 2 threads: {len(pinned)} hash")
    if full:
        outcome.note(f"not pinned: {len(free)}")
    if len(same) != 1 or len(pinned) != 1:
        outcome.failures.append(f"hashes {same}, pinned {pinned}")
    return outcome
