"""Where the values of a plan lie: one arena, in which what is dead makes room for what is new."""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from agnostic_dl_numpy import scratch

LINE = 64  # bytes of a cache line


class Need(NamedTuple):
    """Bytes that are needed from one step of a plan up to and with another."""

    size: int
    first: int
    last: int


def nbytes(shape: tuple[int, ...], dtype: Any) -> int:
    """Bytes of an array, in whole cache lines."""
    return -(-math.prod(shape) * np.dtype(dtype).itemsize // LINE) * LINE


def offsets(needs: Mapping[int, Need]) -> tuple[dict[int, int], int]:
    """Offsets of buffers so that none overlaps one that is alive with it, and the whole size.

    Largest first, each at the lowest place that is free for as long as it lives.

    Source: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020
    (greedy by size).
    """
    placed: list[tuple[int, Need]] = []
    found: dict[int, int] = {}
    for number, need in sorted(needs.items(), key=lambda item: -item[1].size):
        at = 0
        for start, other in sorted(placed):
            if other.last < need.first or need.last < other.first:
                continue
            if start - at >= need.size:
                break
            at = max(at, start + other.size)
        placed.append((at, need))
        found[number] = at
    return found, max((start + need.size for start, need in placed), default=0)


def _private_pages(size: int) -> mmap.mmap:
    """New memory, not to be shared with child processes: the system has large pages for it."""
    if hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)


class Arena:
    """The memory of a plan's values: pages of its own, which can be given back between runs."""

    def __init__(self, needs: Mapping[int, Need]) -> None:
        self._offsets, self.size = offsets(needs)
        self._pages = _private_pages(max(self.size, 1))
        if hasattr(mmap, "MADV_HUGEPAGE"):  # as NumPy asks for its own large arrays
            self._pages.madvise(mmap.MADV_HUGEPAGE)
        self._bytes = np.frombuffer(self._pages, np.uint8)

    def array(self, number: int, shape: tuple[int, ...], dtype: Any) -> Any:
        """The array of a value that has a need."""
        start = self._offsets[number]
        count = math.prod(shape) * np.dtype(dtype).itemsize
        return self._bytes[start : start + count].view(dtype).reshape(shape)

    def give_back(self) -> None:
        """Let the system have the memory until it is next written to, where it can be told so."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._pages.madvise(mmap.MADV_DONTNEED)

    def spoil(self) -> None:
        """Fill it with NaN: whoever reads what nobody wrote is found out."""
        self._bytes.fill(0xFF)


def aligned_array(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array of its own that begins with a cache line."""
    count = math.prod(shape) * np.dtype(dtype).itemsize
    return scratch.aligned(count).view(dtype).reshape(shape)


def same_memory(array: Any, out: Any) -> bool:
    """Whether an array is the very memory of another, perhaps in another shape."""
    if not isinstance(array, np.ndarray):
        return False
    same = array.__array_interface__["data"] == out.__array_interface__["data"]
    return same and array.size == out.size and array.flags.c_contiguous
