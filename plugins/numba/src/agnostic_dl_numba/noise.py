"""Dropout masks: Threefry-2x32, a counter at a time, the reference's bits."""

from __future__ import annotations

import math
from ctypes import c_double, c_ssize_t, c_uint32, c_void_p
from typing import Any

import numpy as np

from agnostic_dl_numba.compiled import compiled
from agnostic_dl_numpy import scratch, threads
from agnostic_dl_numpy.noise import folded_key

_COUNTERS = 1 << 16  # of a piece
_DTYPES = ("float32", "float64")
_ARGUMENTS = ("uint32", "uint32", "uint32", "float64", "intp", "intp", "intp", "intp")
_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)

_TEMPLATE = """\
from numpy import {dtype}, uint32


def run(mask, key0, key1, level, value, half, size, start, stop):
    low, high = {dtype}(0.0), {dtype}(value)
    key2 = uint32(key0 ^ key1 ^ uint32(0x1BD11BDA))
    for i in range(start, stop):
        x0, x1 = uint32(uint32(i) + key0), key1
{rounds}
        mask[i] = high if x0 < level else low
        if half + i < size:
            mask[half + i] = high if x1 < level else low
"""


def _text(dtype: str) -> str:
    """The loop over counters: two words of each, for one place in each half of the mask."""
    lines = []
    for group in range(5):
        for by in _ROTATIONS[group % 2]:
            lines.append("x0 = uint32(x0 + x1)")
            lines.append(f"x1 = uint32(uint32(uint32(x1 << {by}) | uint32(x1 >> {32 - by})) ^ x0)")
        lines.append(f"x0 = uint32(x0 + key{(group + 1) % 3})")
        lines.append(f"x1 = uint32(x1 + key{(group + 2) % 3} + uint32({group + 1}))")
    return _TEMPLATE.format(dtype=dtype, rounds="\n".join(" " * 8 + line for line in lines))


def dropout_mask(
    xp: Any, key: Any, *, stream: tuple[int, int], shape: tuple[int, ...], keep: float, dtype: Any
) -> Any:
    """As the primitive: 1 / keep with probability *keep*, else 0, the same to the bit."""
    size, name = math.prod(shape), np.dtype(dtype).name
    if type(key) is not np.ndarray or key.dtype != np.uint32 or size == 0 or name not in _DTYPES:
        return NotImplemented
    function = compiled(_text(name), (f"{name}*", *_ARGUMENTS))
    if function is None:
        return NotImplemented
    words = [c_uint32(word) for word in folded_key(key, stream)]
    level = c_uint32(min(round(keep * 2**32), 2**32 - 1))
    mask, half = scratch.result(shape, dtype), (size + 1) // 2
    address, value = c_void_p(mask.ctypes.data), c_double(1.0 / keep)
    plan = threads.ranges(half, -(-half // _COUNTERS))

    def draw(index: int) -> None:
        counters = map(c_ssize_t, (half, size, *plan[index]))
        function(address, *words, level, value, *counters)

    threads.spread(draw, len(plan))
    return mask
