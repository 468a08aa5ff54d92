"""Initialisers: functions of a key that draw a parameter's first values, uniforms all of them.

The fan-in of a weight whose last axis is its output is the product of the other axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from agnostic_dl import random

#: (xp, key, shape, dtype, device) → array
Initializer = Callable[[Any, random.Key, tuple[int, ...], Any, Any], Any]


def zeros(xp: Any, key: random.Key, shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
    """All 0."""
    return xp.zeros(shape, dtype=dtype, device=device)


def ones(xp: Any, key: random.Key, shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
    """All 1."""
    return xp.ones(shape, dtype=dtype, device=device)


def uniform(low: float, high: float) -> Initializer:
    """Uniform in [low, high)."""

    def initializer(xp: Any, key: random.Key, shape: Any, dtype: Any, device: Any) -> Any:
        return random.uniform(xp, key, shape, dtype, low=low, high=high, device=device)

    return initializer


def he_uniform(xp: Any, key: random.Key, shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
    """Uniform in ±√(6 / fan-in): keeps the variance through ReLUs.

    Source: He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 10.
    """
    bound = math.sqrt(6.0 / max(math.prod(shape[:-1]), 1))
    return uniform(-bound, bound)(xp, key, shape, dtype, device)


def glorot_uniform(
    xp: Any, key: random.Key, shape: tuple[int, ...], dtype: Any, device: Any
) -> Any:
    """Uniform in ±√(6 / (fan-in + fan-out)): keeps the variance both ways.

    Source: Glorot and Bengio, "Understanding the Difficulty of Training Deep Feedforward Neural
    Networks", AISTATS 2010, equation 16.
    """
    area = math.prod(shape[:-2])
    bound = math.sqrt(6.0 / max(area * (shape[-2] + shape[-1]), 1))
    return uniform(-bound, bound)(xp, key, shape, dtype, device)


def lecun_uniform(xp: Any, key: random.Key, shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
    """Uniform in ±√(3 / fan-in): unit gain, for layers that no ReLU follows.

    Source: LeCun et al., "Efficient BackProp", 1998, section 4.6.
    """
    bound = math.sqrt(3.0 / max(math.prod(shape[:-1]), 1))
    return uniform(-bound, bound)(xp, key, shape, dtype, device)
