"""Several datasets in one file, as processes hand them to each other: no decoding, no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agnostic_dl.data.dataset import Dataset, split


def write_bundle(path: Path, parts: Mapping[str, Dataset]) -> None:
    """Write the datasets by name; they share their classes."""
    arrays: dict[str, Any] = {"classes": np.asarray(next(iter(parts.values())).classes, dtype=str)}
    for name, part in parts.items():
        arrays[f"images_{name}"] = part._images[part._rows]
        arrays[f"labels_{name}"] = part.labels
    np.savez(path, **arrays)


def read_bundle(path: Path) -> dict[str, Dataset]:
    """The datasets that `write_bundle` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        classes = [str(name) for name in archive["classes"]]
        names = [name.removeprefix("labels_") for name in archive if name.startswith("labels_")]
        return {n: Dataset(archive[f"images_{n}"], archive[f"labels_{n}"], classes) for n in names}


def limited(dataset: Dataset, count: int | None) -> Dataset:
    """About *count* examples, the same share of every class, always the same ones."""
    if count is None or count >= len(dataset):
        return dataset
    return split(dataset, count / len(dataset), seed=1)[1]
