"""Memory that kernels use again at every call: one set of buffers for each thread.

Fresh pages cost more than what is written to them, and a buffer that was just used is in the cache.
Nothing that a kernel returns may be a view of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import local
from typing import Any

import numpy as np

#: Bytes of a piece of work: with what is read and written beside it, it fits a core's L2 cache.
PIECE = 3 << 19

#: The same for passes that do little per element: threads hand over the interpreter's lock at each
#: operation, and one of less than some 50 µs waits for it longer than it works.
PASS = 3 << 20

_buffers = local()


def take(name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array of this thread's buffer *name*, not cleared: valid until the name is taken again."""
    dtype = np.dtype(dtype)
    size = dtype.itemsize
    for length in shape:
        size *= length
    buffer = _buffers.__dict__.get(name)
    if buffer is None or buffer.size < size:
        buffer = _buffers.__dict__[name] = aligned(size)
    return buffer[:size].view(dtype).reshape(shape)


def result(shape: tuple[int, ...], dtype: Any) -> Any:
    """A new array for a kernel to return; within :func:`into`, one of those given there."""
    for place, target in enumerate(_buffers.__dict__.get("targets", ())):
        if target is not None and target.shape == tuple(shape) and target.dtype == dtype:
            _buffers.targets[place] = None
            return target
    return np.empty(shape, dtype=dtype)


@contextmanager
def into(targets: Sequence[Any]) -> Iterator[None]:
    """In this context, and on this thread, kernels write their results to these where they can."""
    _buffers.targets = list(targets)
    try:
        yield
    finally:
        _buffers.targets = ()


def aligned(size: int) -> Any:
    """Bytes that begin with a cache line: vector loads never straddle two."""
    raw = np.empty(size + 64, dtype=np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def as_integers(x: Any) -> Any:
    """The bits of a float array as integers of its width: a product with 0 or 1 keeps or clears.

    Unlike a product of floats it clears infinities and NaN as well, and unlike `where` it is fast.
    """
    return x.view(np.int32 if x.dtype.itemsize == 4 else np.int64)
