"""Threefry-2x32 in place, in pieces that stay in the cache: the reference's bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from agnostic_dl_numpy import scratch, threads

# Counters of a piece: its words stay in a core's L2 cache, and each of the hundred operations is
# long enough that threads do not wait for the interpreter's lock.
_COUNTERS = 1 << 16
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
# Shifts as arrays, made once: a Python integer is converted at every call.
_SHIFTS = {by: np.array(by, dtype=np.uint32) for by in range(33)}


def dropout_mask(
    xp: Any, key: Any, *, stream: tuple[int, int], shape: tuple[int, ...], keep: float, dtype: Any
) -> Any:
    """As the primitive: 1 / keep with probability *keep*, else 0, the same to the bit."""
    size = math.prod(shape)
    if type(key) is not np.ndarray or key.dtype != np.uint32 or size == 0:
        return NotImplemented
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        return NotImplemented
    folded = folded_key(key, stream)
    level = np.array(min(round(keep * 2**32), 2**32 - 1), dtype=np.uint32)
    mask = scratch.result(shape, dtype).reshape(-1)
    half = (size + 1) // 2
    plan = threads.ranges(half, -(-half // _COUNTERS))

    def draw(index: int) -> None:
        start, stop = plan[index]
        # The generator gives two words per counter: the first halves come before the second.
        for words, offset in zip(_words(folded, start, stop), (0, half), strict=True):
            part = mask[offset + start : offset + stop]
            below = np.less(words[: len(part)], level)
            np.multiply(below.astype(dtype), 1.0 / keep, out=part)

    threads.spread(draw, len(plan))
    return mask.reshape(shape)


def folded_key(key: Any, stream: tuple[int, int]) -> tuple[int, int]:
    """The key of one stream: the generator at the stream's two words."""
    x0, x1 = (np.array([word], dtype=np.uint32) for word in stream)
    _threefry((int(key[0]), int(key[1])), x0, x1)
    return int(x0[0]), int(x1[0])


def _words(key: tuple[int, int], start: int, stop: int) -> tuple[Any, Any]:
    """Both words of the counters start..stop, in this thread's scratch."""
    x0 = scratch.take("word 0", (stop - start,), np.uint32)
    x1 = scratch.take("word 1", (stop - start,), np.uint32)
    x0[...] = np.arange(start, stop, dtype=np.uint32)
    x1.fill(0)
    _threefry(key, x0, x1)
    return x0, x1


def _threefry(key: tuple[int, int], x0: Any, x1: Any) -> None:
    """Encrypt the counters x0, x1 (uint32) in place: 20 rounds."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    high = scratch.take("rotated", x0.shape, np.uint32)
    np.add(x0, _word(schedule[0]), out=x0)
    np.add(x1, _word(schedule[1]), out=x1)
    for group in range(5):
        for by in _ROTATIONS[group % 2]:
            np.add(x0, x1, out=x0)
            np.right_shift(x1, _SHIFTS[32 - by], out=high)
            np.left_shift(x1, _SHIFTS[by], out=x1)
            np.bitwise_xor(x1, high, out=x1)
            np.bitwise_xor(x1, x0, out=x1)
        np.add(x0, _word(schedule[(group + 1) % 3]), out=x0)
        np.add(x1, _word(schedule[(group + 2) % 3] + group + 1), out=x1)


def _word(value: int) -> Any:
    return np.array(value & 0xFFFFFFFF, dtype=np.uint32)
