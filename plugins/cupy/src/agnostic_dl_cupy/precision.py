"""Whether float32 products may be computed in TF32: 10 bits of mantissa instead of 23.

Off by default, for matrix products and convolutions alike. ``AGNOSTIC_DL_CUPY_TF32=1`` turns it on
for a process, :func:`tf32` for a block of code. float64, float16 and bfloat16 are not touched.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from agnostic_dl_cupy.switch import Switch

VARIABLE = "AGNOSTIC_DL_CUPY_TF32"
_SWITCH = Switch(VARIABLE)


def allows_tf32() -> bool:
    """Whether TF32 is allowed here: by the innermost :func:`tf32`, else by the environment."""
    return _SWITCH.is_on()


def tf32(allowed: bool = True) -> AbstractContextManager[None]:
    """Allow (or with False forbid) TF32 until the context ends, in this context only."""
    return _SWITCH.turned(allowed)
