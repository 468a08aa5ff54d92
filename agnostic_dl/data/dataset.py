"""`Dataset`: pictures and labels by index. `Data`: two of them. `split`: one into two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agnostic_dl.data.host import size_text
from agnostic_dl.errors import DataError, UsageError


class RowError(UsageError, IndexError):
    """An index lies outside a dataset (an IndexError too, which ends Python's own iteration)."""


class Dataset:
    """Pictures with labels, kept as they came (uint8 or float32) and converted batch by batch.

    Args:
        images: (N, H, W, C), uint8, or float32 in [0, 1].
        labels: (N,), integers in 0..K-1.
        classes: the K class names.

    The arrays are taken as they are; `from_arrays` takes more forms and checks every value.

    Raises:
        DataError: images and labels differ in number, or are not of these ranks and types.
    """

    classes: tuple[str, ...]

    def __init__(self, images: NDArray[Any], labels: NDArray[Any], classes: Sequence[str]) -> None:
        if images.ndim != 4 or labels.shape != images.shape[:1]:
            raise DataError(
                "a dataset needs images (N, H, W, C) and as many labels (N,), "
                f"got {images.shape} and {labels.shape}"
            )
        if images.dtype not in (np.uint8, np.float32):
            raise DataError(f"a dataset keeps images in uint8 or float32, got {images.dtype}")
        self.classes = tuple(classes)
        self._images = images
        self._white = 255.0 if images.dtype == np.uint8 else 1.0  # what becomes 1.0 in a batch
        self._rows: NDArray[np.intp] = np.arange(len(images))
        self._labels = _read_only(labels.astype(np.int64))

    @property
    def labels(self) -> NDArray[np.int64]:
        """All labels, (N,) int64, read-only."""
        return self._labels

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every picture."""
        _, height, width, channels = self._images.shape
        return height, width, channels

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        shape, classes = size_text(self.image_shape), len(self.classes)
        return f"Dataset({len(self)} images of {shape}, {classes} classes)"

    def __getitem__(self, indices: Any) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Pictures and labels: (n, H, W, C) float32 in [0, 1] and (n,) int64, fresh arrays.

        `indices` is a slice, a sequence or array of integers, or a mask of N booleans; one integer
        gives (H, W, C) and a 0-d label. Negative integers count from the end.

        Raises:
            RowError: an index outside the dataset.
            UsageError: anything that is not an index.
        """
        rows = self._positions(indices)
        images = np.asarray(self._images[self._rows[rows]])
        return np.divide(images, self._white, dtype=np.float32), np.array(self._labels[rows])

    def subset(self, indices: Any) -> Dataset:
        """The dataset of these rows, in this order; it shares the pictures' memory."""
        rows = np.atleast_1d(self._positions(indices))
        part = copy(self)
        part._rows = self._rows[rows]
        part._labels = _read_only(self._labels[rows])
        return part

    def batches(
        self, order: Any, batch_size: int
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """`self[...]` of every `batch_size` indices of `order`, one after the other.

        The last batch may be smaller. UsageError for a batch size below 1.
        """
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, got {batch_size}")
        rows = np.atleast_1d(self._positions(order))
        return (self[rows[i : i + batch_size]] for i in range(0, len(rows), batch_size))

    def _positions(self, indices: Any) -> NDArray[np.intp]:
        """Indices of any kind as non-negative positions, (n,) or 0-d."""
        if isinstance(indices, slice):
            return np.arange(len(self))[indices]
        given = _as_array(indices)
        if given.dtype == bool and given.shape == (len(self),):
            return np.flatnonzero(given)
        if given.size and (given.dtype.kind not in "iu" or given.ndim > 1):
            raise UsageError(
                "a dataset is indexed by an integer, a slice or a sequence of integers, "
                f"got {type(indices).__name__} ({given.dtype}, {given.ndim}-d)"
            )
        return self._checked(given)

    def _checked(self, given: NDArray[Any]) -> NDArray[np.intp]:
        outside = given[(given < -len(self)) | (given >= len(self))] if given.size else given
        if outside.size:
            raise RowError(f"index {outside.flat[0]} is out of range for {len(self)} images")
        rows = given.astype(np.intp)
        return np.where(rows < 0, rows + len(self), rows)


@dataclass(frozen=True)
class Data:
    """A named dataset in two parts, which share classes and image shape."""

    train: Dataset
    test: Dataset
    name: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names; label k means ``classes[k]``."""
        return self.train.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every picture of both parts."""
        return self.train.image_shape


def split(dataset: Dataset, fraction: float = 0.2, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Part a dataset, class by class, in (the rest, `fraction` of it), both in the old order.

    A class of n pictures gives round(n * fraction) of them, but at least one, and keeps one. Which
    ones follows from `seed` by a hash alone: the same on every machine and NumPy version.

    Raises:
        UsageError: fraction not between 0 and 1, or seed not an integer.
        DataError: a class has a single picture.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"fraction must lie between 0 and 1, got {fraction}")
    if not isinstance(seed, int):
        raise UsageError(f"seed must be an integer, got {seed!r}")
    held_out = np.zeros(len(dataset), dtype=bool)
    for label in np.unique(dataset.labels).tolist():
        rows = np.flatnonzero(dataset.labels == label)
        if len(rows) < 2:
            raise DataError(
                f"class {dataset.classes[label]!r} has a single image, too few to hold one out "
                "for the test part; add images or bring a test part of your own"
            )
        count = min(max(int(len(rows) * fraction + 0.5), 1), len(rows) - 1)
        held_out[rows[_shuffled(len(rows), seed, label)[:count]]] = True
    return dataset.subset(~held_out), dataset.subset(held_out)


def _as_array(indices: Any) -> NDArray[Any]:
    try:
        return np.asarray(indices)
    except (TypeError, ValueError) as error:  # ragged lists, arrays that live on a device
        raise UsageError(
            f"not an index of a dataset: {type(indices).__name__} ({error})"
        ) from error


def _shuffled(count: int, seed: int, label: int) -> list[int]:
    """0..count-1 in an order that only the arguments decide."""

    def key(position: int) -> bytes:
        return blake2b(f"{seed}/{label}/{position}".encode(), digest_size=8).digest()

    return sorted(range(count), key=key)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
