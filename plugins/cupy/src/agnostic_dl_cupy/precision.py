"""Whether float32 products may be computed in TF32: 10 bits of mantissa instead of 23.

Off by default, for matrix products and convolutions alike. ``AGNOSTIC_DL_CUPY_TF32=1`` turns it on
for a process, :func:`tf32` for a block of code. float64, float16 and bfloat16 are not touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from agnostic_dl.errors import UsageError

VARIABLE = "AGNOSTIC_DL_CUPY_TF32"
_VALUES = {"": False, "0": False, "1": True}

_chosen: ContextVar[bool | None] = ContextVar("agnostic_dl_cupy_tf32", default=None)


def allows_tf32() -> bool:
    """Whether TF32 is allowed here: by the innermost :func:`tf32`, else by the environment."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    value = os.environ.get(VARIABLE, "")
    if value not in _VALUES:
        raise UsageError(f"{VARIABLE} expects 0 or 1, got {value!r}")
    return _VALUES[value]


@contextmanager
def tf32(allowed: bool = True) -> Iterator[None]:
    """Allow (or with False forbid) TF32 until the context ends, in this context only."""
    token = _chosen.set(allowed)
    try:
        yield
    finally:
        _chosen.reset(token)
