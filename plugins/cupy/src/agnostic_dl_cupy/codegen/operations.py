"""Which primitives a generated kernel can have, and what each is in C."""

from __future__ import annotations

from typing import Any

from agnostic_dl.extend import Instruction, Literal, Program

#: dtype → how an element lies in memory, and in what a kernel computes with it.
STORED = {
    "float32": "float", "float64": "double", "float16": "Float16", "bfloat16": "BFloat16",
    "bool": "unsigned char",
}  # fmt: skip
COMPUTED = {
    "float32": "float", "float64": "double", "float16": "float", "bfloat16": "float",
    "bool": "bool",
}  # fmt: skip
HALVES = ("float16", "bfloat16")

#: Of numbers of one dtype, a number of that dtype; `op_NAME` in the preamble, for float and double.
ARITHMETIC = frozenset(
    {"add", "subtract", "multiply", "divide", "negative", "positive", "abs", "square", "sqrt",
     "reciprocal", "maximum", "minimum", "relu", "relu_grad", "sign", "floor", "ceil", "round",
     "trunc", "copysign", "hypot", "pow", "exp", "expm1", "log", "log1p", "log2", "log10", "sin",
     "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh",
     "atanh", "logaddexp"}
)  # fmt: skip
#: Of numbers of one dtype, a bool.
QUESTIONS = frozenset(
    {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "isfinite", "isnan",
     "isinf", "signbit"}
)  # fmt: skip
LOGIC = frozenset({"logical_and", "logical_or", "logical_xor", "logical_not"})
#: Those with a form of their own in `source.py`.
SPECIAL = frozenset({"where", "clip", "astype", "ones_like", "zeros_like", "sigmoid"})


def accepts(program: Program, instruction: Instruction) -> bool:
    """Whether a generated kernel computes this instruction as the primitive would."""
    if instruction.op not in ARITHMETIC | QUESTIONS | LOGIC | SPECIAL or instruction.several:
        return False
    if instruction.static.get("device") is not None:
        return False
    made = program.values[instruction.outs[0]].dtype
    read = [program.values[n].dtype for n in instruction.reads]
    if not {made, *read} <= set(STORED) or not _real(instruction):
        return False
    return _fits(instruction.op, made, read)


def _real(instruction: Instruction) -> bool:
    """Whether no operand is a complex number or, but for clip's limits, left out."""
    given: list[Any] = [i.value for i in instruction.ins if isinstance(i, Literal)]
    optional = instruction.op == "clip"
    return all(isinstance(v, (bool, int, float)) or (optional and v is None) for v in given)


def _fits(op: str, made: str, read: list[str]) -> bool:
    """Whether the dtypes are those that the primitive's C form is for."""
    if op in ARITHMETIC | {"clip"}:
        return made != "bool" and common(read) == made
    if op in QUESTIONS:
        return common(read) not in (None, "bool")
    if op in LOGIC:
        return set(read) <= {"bool"}
    if op == "where":
        return read[0] == "bool" and common(read[1:] or [made]) == made
    if op == "sigmoid":
        return made not in HALVES  # its reference rounds at each of its steps
    return op != "astype" or (made not in HALVES or read[0] != "float64")  # that rounds once


def common(dtypes: list[str]) -> str | None:
    """The dtype that the standard computes in, given these; None: the standard does not say."""
    kinds = set(dtypes)
    if len(kinds) == 1:
        return kinds.pop()
    if "bool" in kinds or set(HALVES) <= kinds or not kinds:
        return None
    return "float64" if "float64" in kinds else "float32"
