"""Random masks, drawn from the counter-based generator."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl import random
from agnostic_dl.primitives.definition import primitive


@primitive(differentiable=False)
def dropout_mask(
    xp: Any, key: Any, *, stream: random.Key, shape: tuple[int, ...], keep: float, dtype: Any
) -> Any:
    """1 / keep with probability *keep*, else 0: the factor of inverted dropout.

    *key*: a key array (2,); *stream*: which of the draws that share the key this one is. Keeps
    where 32 random bits fall below keep · 2³², so the mask is the same to the bit everywhere.
    """
    size = math.prod(shape)
    words = random.bits(xp, random.fold_array(xp, key, stream), size, device=_device(key))
    below = xp.less(words, keep_threshold(xp, words, keep))
    mask = xp.multiply(xp.astype(below, dtype), 1.0 / keep)
    return xp.reshape(mask, shape)


def keep_threshold(xp: Any, words: Any, keep: float) -> Any:
    """keep · 2³², rounded, as one word."""
    level = min(round(keep * 2**32), 2**32 - 1)
    return xp.full((1,), level, dtype=words.dtype, device=_device(words))


def _device(x: Any) -> Any:
    from array_api_compat import device

    return device(x)
