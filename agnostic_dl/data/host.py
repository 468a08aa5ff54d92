"""The border to the host: optional libraries and memory, each with a clear error when missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

from agnostic_dl.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np

MAX_PIXELS = 2**24  # height × width of one picture that anyone may ask this room to read or make

# What a compressed file may unpack to: pictures shrink to a tenth, seldom to a hundredth of it.
_ALWAYS, _RATIO = 2**25, 200

_LIBRARIES = {"numpy": "NumPy", "PIL": "Pillow"}


@contextmanager
def needs_extra() -> Iterator[None]:
    """Turn a failed import of NumPy or Pillow inside the block into a MissingExtraError."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = _LIBRARIES.get((error.name or "").split(".")[0])
        if library is None:
            raise
        raise MissingExtraError(
            f"agnostic_dl.data needs {library}, which is not installed: "
            "install agnostic-dl with its extra 'cli' (or the library alone)"
        ) from error


def most_unpacked(on_disk: int) -> int:
    """How many bytes a compressed file of *on_disk* bytes may claim to hold; more is a bomb."""
    return max(_ALWAYS, on_disk * _RATIO)


def allocate(shape: tuple[int, ...], dtype: Any, what: str) -> np.ndarray[Any, Any]:
    """An uninitialised array; DataError, with the size in GB, where the memory is not there."""
    import numpy as np

    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError) as error:  # ValueError: more than an address can count
        size = prod(shape) * np.dtype(dtype).itemsize / 1e9
        raise DataError(
            f"{what}: {shape[0]} images of {size_text(shape[1:])} need {size:,.1f} GB, more than "
            "this machine has free; choose a smaller image_size= (--image-size) or fewer images"
        ) from error


def size_text(shape: tuple[int, ...]) -> str:
    """Sizes as people write them: ``32×32×3``."""
    return "×".join(str(size) for size in shape)
