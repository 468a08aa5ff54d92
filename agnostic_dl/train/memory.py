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
def guarded(x: Any, where: str) -> Iterator[None]:
    """Turn a lack of memory in this context, over the batch *x*, into our error."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
            raise
        raise explained(error, x, where) from error


def explained(error: BaseException, x: Any, where: str) -> OutOfMemoryError:
    """Our error for a step on the batch *x*; *where*: "epoch 1, batch 3"."""
    count = int(x.shape[0]) if x.shape else 1
    size = "×".join(map(str, x.shape[1:])) or "1"
    itemsize = int(getattr(x, "itemsize", 4))
    asked = _BYTES.search(str(error))
    wanted = (
        f"{asked[0]} more were asked for"
        if asked
        else f"the batch alone takes {math.prod(x.shape) * itemsize:,} bytes"
    )
    smaller = (
        f"choose a smaller batch_size (--batch-size), such as {max(count // 4, 1)}"
        if count > 1
        else "choose smaller images (--image-size) or a smaller model"
    )
    return OutOfMemoryError(
        f"{where}: out of memory on a batch of {count:,} examples of {size}: {wanted}; the weights "
        f"are as they were before it: {smaller}"
    )
