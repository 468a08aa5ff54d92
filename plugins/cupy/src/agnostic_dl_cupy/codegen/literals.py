"""Numbers as C writes them, exactly: hexadecimal floating-point literals."""

from __future__ import annotations

import math
import struct

_FORMATS = {"float16": "e", "float32": "f", "float64": "d"}


def rounded(value: float, dtype: str) -> float:
    """*value* as the dtype holds it: rounded once, to nearest and ties to even."""
    if dtype == "bfloat16":
        return _bfloat16(rounded(value, "float32"))
    try:
        form = _FORMATS[dtype]
        return float(struct.unpack(form, struct.pack(form, value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _bfloat16(value: float) -> float:
    if not math.isfinite(value):
        return value
    bits = int(struct.unpack("I", struct.pack("f", value))[0])
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return float(struct.unpack("f", struct.pack("I", bits))[0])


def literal(value: bool | int | float, dtype: str) -> str:
    """A C expression of exactly the number that the dtype makes of *value*."""
    if dtype == "bool":
        return "true" if value else "false"
    number = rounded(float(value), dtype)
    kind = "double" if dtype == "float64" else "float"
    if math.isnan(number):
        return f"op_nan<{kind}>()"
    if math.isinf(number):
        return f"{'-' if number < 0 else ''}op_infinity<{kind}>()"
    text = number.hex() + ("" if kind == "double" else "f")
    return f"({text})" if text.startswith("-") else text
