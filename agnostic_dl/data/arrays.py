"""Arrays from outside, checked and brought into this library's form: `from_arrays`, `parts`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agnostic_dl.data.dataset import Dataset
from agnostic_dl.data.host import size_text
from agnostic_dl.data.refit import Size, recoloured, resized
from agnostic_dl.errors import DataError

Pair = tuple[NDArray[Any], NDArray[Any]]  # images and labels as a file has them


def from_arrays(images: Any, labels: Any, *, classes: Sequence[str] | None = None) -> Dataset:
    """A dataset of arrays in memory.

    Args:
        images: (N, H, W) or (N, H, W, C); integers in 0..255, or floats in [0, 1].
        labels: (N,) or (N, 1); integers that use every class 0..K-1.
        classes: the K class names; default: the labels as text.

    Raises:
        DataError: any of this does not hold; the message says which.
    """
    train, _ = parts((np.asarray(images), np.asarray(labels)), None, where="arrays")
    if classes is None:
        return train
    if len(classes) != len(train.classes):
        raise DataError(f"arrays: {len(train.classes)} classes, but {len(classes)} class names")
    train.classes = tuple(classes)
    return train


def parts(
    train: Pair,
    test: Pair | None,
    *,
    where: str,
    size: Size | None = None,
    mode: str | None = None,
) -> tuple[Dataset, Dataset | None]:
    """Checked datasets of a training part and, where there is one, of a test part like it.

    `where` begins every message; `size` and `mode` change the pictures as `load` says.
    """
    names = _class_names(_checked_labels(train[1], f"{where}: training part"), where)
    first = _dataset(train, names, f"{where}: training part", size, mode)
    if test is None:
        return first, None
    second = _dataset(test, names, f"{where}: test part", size, mode)
    if second.image_shape != first.image_shape:
        raise DataError(
            f"{where}: training images are {size_text(first.image_shape)}, test images "
            f"{size_text(second.image_shape)}; image_size= (--image-size) and mode= make them alike"
        )
    return first, second


def _dataset(
    pair: Pair, classes: tuple[str, ...], where: str, size: Size | None, mode: str | None
) -> Dataset:
    images, labels = _checked_images(pair[0], where), _checked_labels(pair[1], where)
    if len(images) != len(labels):
        raise DataError(f"{where}: {len(images)} images, but {len(labels)} labels; one for each")
    outside = labels[(labels < 0) | (labels >= len(classes))]
    if outside.size:
        raise DataError(
            f"{where}: label {outside[0]} is out of range; the training part has the "
            f"classes 0 to {len(classes) - 1}"
        )
    return Dataset(resized(recoloured(images, mode, where), size, where), labels, classes)


def _checked_labels(labels: NDArray[Any], where: str) -> NDArray[np.int64]:
    """(N,) int64 of (N,) or (N, 1) integers."""
    if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras keeps CIFAR's
        labels = labels[:, 0]
    if labels.ndim == 2:
        raise DataError(
            f"{where}: labels have shape {labels.shape}, expected (N,); "
            "turn one-hot labels into integers with labels.argmax(axis=1)"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{where}: labels must be integers of shape (N,), got {labels.dtype} of {labels.shape}"
        )
    if not labels.size:
        raise DataError(f"{where}: holds no images; expected at least one")
    return labels.astype(np.int64)


def _class_names(labels: NDArray[np.int64], where: str) -> tuple[str, ...]:
    """The names "0", "1", … of training labels; DataError unless they are exactly 0..K-1."""
    found = np.unique(labels).tolist()
    if len(found) == 1:
        raise DataError(f"{where}: all labels are {found[0]}: a classifier needs two classes")
    if found != list(range(len(found))):
        missing = next(k for k in range(len(found)) if k not in set(found))
        raise DataError(
            f"{where}: {len(found)} different labels from {found[0]} to {found[-1]}, without "
            f"{missing}; expected every integer from 0 to {len(found) - 1}: renumber them, "
            "for instance with numpy.unique(labels, return_inverse=True)"
        )
    return tuple(str(label) for label in found)


def _checked_images(images: NDArray[Any], where: str) -> NDArray[Any]:
    """(N, H, W, C) in uint8, or in float32 within [0, 1]."""
    images = _with_channels(images, where)
    if images.dtype == bool:
        return images.astype(np.float32)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if images.dtype.kind not in "iuf":
        raise DataError(f"{where}: images must be numbers, got {images.dtype}")
    low, high = images.min(), images.max()
    limit = 1 if images.dtype.kind == "f" else 255
    if not (low >= 0 and high <= limit):  # written so that NaN fails too
        raise DataError(
            f"{where}: {images.dtype} images must lie within "
            f"{'[0, 1]' if limit == 1 else '0..255'}, got {low:.6g} to {high:.6g}; rescale them, "
            "or store integers from 0 to 255 as uint8"
        )
    return np.ascontiguousarray(images, np.float32 if limit == 1 else np.uint8)


def _with_channels(images: NDArray[Any], where: str) -> NDArray[Any]:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape:
        raise DataError(
            f"{where}: images must have shape (N, H, W) or (N, H, W, C), got {images.shape}"
        )
    if images.shape[1] in (1, 3, 4) and images.shape[3] > 4:
        raise DataError(
            f"{where}: images of shape {images.shape} look like (N, C, H, W), but channels come "
            "last here: (N, H, W, C); use images.transpose(0, 2, 3, 1)"
        )
    return images
