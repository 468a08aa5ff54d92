"""Batches of a dataset in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from agnostic_dl import random
from agnostic_dl.backend import Backend
from agnostic_dl.backends import to_numpy
from agnostic_dl.errors import DataError, UsageError


class BatchSource(Protocol):
    """What training needs of a dataset: a length, and (x, y) for integer indices."""

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def __getitem__(self, indices: Any) -> tuple[Any, Any]:
        """The examples at these indices."""
        ...


class ArrayPair:
    """Inputs and targets given as two arrays, seen as a dataset on the host."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = (to_numpy(a) if hasattr(a, "dtype") else a for a in (x, y))
        if not hasattr(self.x, "shape") or not hasattr(self.y, "shape") or not self.x.shape:
            raise DataError("training data: expected a dataset or a pair of arrays (x, y)")
        if self.x.shape[0] != self.y.shape[0]:
            raise DataError(
                f"training data: x has {self.x.shape[0]} examples and y has {self.y.shape[0]}"
            )

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def __getitem__(self, indices: Any) -> tuple[Any, Any]:
        return self.x[indices], self.y[indices]


def as_source(data: Any, part: str) -> BatchSource:
    """A dataset as it is, the *part* (train or test) of a pair of them, or arrays (x, y)."""
    if hasattr(data, "train") and hasattr(data, "test"):
        data = getattr(data, part)
    source = ArrayPair(*data) if isinstance(data, tuple) and len(data) == 2 else data
    if not hasattr(source, "__getitem__") or not hasattr(source, "__len__"):
        raise UsageError(
            f"expected a dataset, adl.data.load(...) or a pair of arrays (x, y), got "
            f"{type(data).__name__}"
        )
    if len(source) == 0:
        raise DataError("the dataset is empty")
    return source


def shuffled(backend: Backend, seed: int, epoch: int, count: int) -> Any:
    """The order of the examples in an epoch, as host indices; the same on every backend."""
    key = random.fold(random.key(seed), "order", epoch)
    return backend.to_numpy(random.permutation(backend.xp, key, count, device=backend.device))


#: Examples in a batch where nobody has said how many.
BATCH_SIZE = 128


def batch_size_for(wanted: int | None, count: int) -> int:
    """The batch size to train *count* examples with; None: 128, or all of a smaller dataset."""
    if wanted is None:
        return min(BATCH_SIZE, count)
    check_batch_size(wanted, count)
    return wanted


def check_batch_size(batch_size: int, count: int) -> None:
    """Refuse a batch that is not positive or larger than the data."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise UsageError(f"batch_size: expected a positive integer, got {batch_size!r}")
    if batch_size > count:
        raise UsageError(
            f"batch_size: {batch_size} is larger than the training data ({count} examples): "
            f"choose at most {count}"
        )


def slices(count: int, batch_size: int) -> Iterator[slice]:
    """Slices of batch_size, the last one shorter where they do not come out even."""
    for start in range(0, count, batch_size):
        yield slice(start, min(start + batch_size, count))
