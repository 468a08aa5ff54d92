"""Out of memory: one line that says how large the batch was and what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agnostic_dl.errors import OutOfMemoryError

_BYTES = re.compile(r"(\d[\d.,]*) ?(bytes|[KMGTP]i?B)\b")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an array library says, in its own way, that there is no memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and "allocate" in text and "memory" in text


@contextmanager
def guarded(where: str, count: int, data: Any) -> Iterator[None]:
    """Turn a lack of memory in this context into our error.

    *where*: what was done ("epoch 1, batch 3"), on *count* examples of *data*, a dataset or array.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(_explained(error, where, count, _example_shape(data))) from error


def _example_shape(data: Any) -> tuple[int, ...]:
    if hasattr(data, "image_shape"):
        return tuple(data.image_shape)
    array = getattr(data, "x", data)
    return tuple(getattr(array, "shape", ())[1:])


def _explained(error: BaseException, where: str, count: int, shape: tuple[int, ...]) -> str:
    size = f" of {'×'.join(map(str, shape))}" if shape else ""
    asked = _BYTES.search(str(error))
    wanted = (
        f"{asked[0]} more were asked for"
        if asked
        else f"its inputs alone take {4 * count * math.prod(shape):,} bytes in float32"
    )
    smaller = (
        f"choose a smaller batch_size (--batch-size), such as {max(count // 4, 1)}"
        if count > 1
        else "choose smaller images (--image-size) or a smaller model"
    )
    return (
        f"{where}: out of memory on a batch of {count:,} examples{size}: {wanted}; the weights are "
        f"as they were before it: {smaller}"
    )
