"""A trained run, and data in the form that its network takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agnostic_dl.backends import get_backend
from agnostic_dl.data.paths import show
from agnostic_dl.errors import CheckpointError, DataError, UsageError
from agnostic_dl.train import Trainer

_MODES = {1: "L", 3: "RGB"}
PARTS = ("test", "train", "all")


def load_run(run: Path, backend: str | None) -> Trainer:
    """The trainer of a run's folder; it must know which images its network takes."""
    trainer = Trainer.load(run, backend=get_backend(backend).name if backend is None else backend)
    if "image_shape" not in trainer.info:
        raise CheckpointError(
            f"{show(run)}: the run does not say which images its network takes: it was not trained "
            "on a dataset of adl.data"
        )
    return trainer


def image_shape(trainer: Trainer) -> tuple[int, int, int]:
    """(H, W, C) of the images that the network takes."""
    height, width, channels = trainer.info["image_shape"]
    return height, width, channels


def class_names(trainer: Trainer, count: int) -> list[str]:
    """The names of the network's classes; numbers where it was trained without names."""
    return [str(c) for c in trainer.info.get("classes", range(count))]


def load_data(trainer: Trainer, run: Path, source: str, part: str) -> Any:
    """The *part* of the data at *source*, with images and labels as the network has them."""
    from agnostic_dl import data as datasets

    if part not in PARTS:
        raise UsageError(f"--part: expected one of {', '.join(PARTS)}, got {part!r}")
    height, width, channels = image_shape(trainer)
    data = datasets.load(source, image_size=(height, width), mode=_MODES.get(channels))
    if data.image_shape[2] != channels:
        raise DataError(
            f"{show(source)}: images of {data.image_shape[2]} channels, but {show(run)} was "
            f"trained on {channels}"
        )
    known = class_names(trainer, len(data.classes))
    parts = [data.train, data.test] if part == "all" else [getattr(data, part)]
    return Examples(parts, _numbers(data.classes, known, source), known)


class Examples:
    """The examples of several datasets one after the other, their labels renumbered."""

    def __init__(self, parts: Sequence[Any], numbers: Sequence[int], classes: list[str]) -> None:
        import numpy as np

        self.parts, self.numbers, self.classes = parts, np.asarray(numbers), classes
        self.labels = self.numbers[np.concatenate([part.labels for part in parts])]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice) -> tuple[Any, Any]:
        """Images and labels of consecutive rows."""
        import numpy as np

        start, stop, _ = rows.indices(len(self))
        images, first = [], 0
        for part in self.parts:
            own = slice(max(start - first, 0), max(stop - first, 0))
            images.append(part[own][0])
            first += len(part)
        return np.concatenate(images), self.labels[start:stop]


def _numbers(classes: Sequence[str], known: list[str], source: str) -> list[int]:
    """The network's number for each class of the data, found by name."""
    strangers = [show(name) for name in classes if name not in known]
    if strangers:
        raise DataError(
            f"{show(source)}: classes that the run does not know: {', '.join(strangers[:5])}; it "
            f"knows: {', '.join(map(show, known[:20]))}"
        )
    return [known.index(name) for name in classes]
