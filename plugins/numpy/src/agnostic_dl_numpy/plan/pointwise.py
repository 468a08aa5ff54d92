"""The operations that a chain may have, as functions of arrays and numbers with ``out=``.

Each computes as its eager form does, to the bit, also where *out* is the memory of an operand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agnostic_dl.extend import Instruction, Literal, Program
from agnostic_dl_numpy import scratch


def _relu(x: Any, *, out: Any) -> None:
    np.maximum(x, 0.0, out=out)


def _relu_grad(g: Any, result: Any, *, out: Any) -> None:
    wins = np.greater(result, 0.0, out=scratch.take("wins", out.shape, np.bool_))
    # Bits kept or cleared, and not chosen: see `scratch.as_integers`.
    keep = scratch.take("keep", out.shape, scratch.as_integers(out).dtype)
    np.copyto(keep, wins.view(np.int8))
    np.multiply(keep, scratch.as_integers(g), out=scratch.as_integers(out))


def _where(condition: Any, x: Any, y: Any, *, out: Any) -> None:
    if x is out or np.may_share_memory(x, out):
        np.copyto(out, y, where=np.logical_not(condition))
    else:
        np.copyto(out, y)
        np.copyto(out, x, where=condition)


def _clip(x: Any, least: Any, most: Any, *, out: Any) -> None:
    """The limits are numbers or 0-d; of equal values x stays."""
    if least is not None:
        x = np.maximum(least, x, out=out)
    if most is not None:
        np.minimum(most, x, out=out)


_ARITHMETIC: dict[str, Any] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
    "square": np.square, "sqrt": np.sqrt, "negative": np.negative, "abs": np.abs, "exp": np.exp,
    "log": np.log, "log1p": np.log1p, "expm1": np.expm1, "tanh": np.tanh, "maximum": np.maximum,
    "minimum": np.minimum, "reciprocal": np.reciprocal, "sign": np.sign, "pow": np.power,
    "sin": np.sin, "cos": np.cos, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "relu": _relu, "relu_grad": _relu_grad, "clip": _clip,
}  # fmt: skip
_COMPARISONS: dict[str, Any] = {
    "greater": np.greater, "greater_equal": np.greater_equal, "less": np.less,
    "less_equal": np.less_equal, "equal": np.equal, "not_equal": np.not_equal,
}  # fmt: skip
_LOGIC: dict[str, Any] = {
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_not": np.logical_not,
    "logical_xor": np.logical_xor,
}  # fmt: skip

OPERATIONS: dict[str, Any] = _ARITHMETIC | _COMPARISONS | _LOGIC | {"where": _where}

#: NumPy's own functions from one dtype to the same.
UFUNCS = {name: f for name, f in _ARITHMETIC.items() if isinstance(f, np.ufunc)}


def accepts(program: Program, instruction: Instruction) -> bool:
    """Whether a chain may have it: real floats of one dtype, and truth values; not 0-d alone."""
    op, out = instruction.op, program.values[instruction.outs[0]]
    if op not in OPERATIONS or out.shape == ():
        return False
    dtypes = [program.values[number].dtype for number in instruction.reads]
    if op in _LOGIC:
        return all(dtype == "bool" for dtype in (out.dtype, *dtypes))
    if op == "where":
        return dtypes[:1] == ["bool"] and _are(dtypes[1:], out.dtype)
    if op in _COMPARISONS:
        return bool(dtypes) and _are(dtypes, dtypes[0])
    if op == "clip" and not _limits_are_numbers(program, instruction):
        return False
    return _are(dtypes, out.dtype) and not (op == "relu_grad" and out.dtype == "float16")


def _are(dtypes: list[str], wanted: str) -> bool:
    """Whether there are some and all are *wanted*, a real float."""
    return bool(dtypes) and wanted.startswith("float") and set(dtypes) == {wanted}


def _limits_are_numbers(program: Program, instruction: Instruction) -> bool:
    x, *limits = instruction.ins
    if isinstance(x, Literal) or all(isinstance(i, Literal) and i.value is None for i in limits):
        return False
    return all(isinstance(i, Literal) or program.values[i].shape == () for i in limits)


def result_dtype(op: str, dtypes: list[Any]) -> Any:
    """The dtype of a result, from those of the values that are read."""
    return np.dtype(np.bool_) if op in _COMPARISONS or op in _LOGIC else dtypes[-1]
