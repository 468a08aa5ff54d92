"""Many arrays laid end to end in one: the storage of parameters that are updated alike."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.definition import primitive


@primitive
def pack(xp: Any, *arrays: Any) -> Any:
    """Lay arrays of one dtype end to end, each in C order: one of a single axis."""
    return xp.concat([xp.reshape(array, (-1,)) for array in arrays])


pack.defvjp_composed()


@primitive
def unpack(xp: Any, flat: Any, *, shapes: tuple[tuple[int, ...], ...], index: int) -> Any:
    """Array number *index* of those of *shapes* that were packed into *flat*."""
    start = sum(math.prod(shape) for shape in shapes[:index])
    stop = start + math.prod(shapes[index])
    return xp.reshape(flat[start:stop], shapes[index])


unpack.defvjp_composed()
