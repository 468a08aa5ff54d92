"""What a program costs: floating-point operations, bytes to and from memory, and how it prints."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.program import Instruction, Literal, Program

_ITEM = {"bool": 1, "bfloat16": 2, "complex64": 8, "complex128": 16}
#: Operations that only look at an array in another way: they move no bytes.
VIEWS = frozenset(
    {"reshape", "permute_dims", "matrix_transpose", "expand_dims", "squeeze", "broadcast_to",
     "unpack", "flip", "moveaxis", "pack"}
)  # fmt: skip
#: Operations of one element each, which a fused loop does without going to memory in between.
ELEMENTWISE = frozenset(
    {"add", "subtract", "multiply", "divide", "negative", "positive", "abs", "square", "sqrt",
     "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "tanh", "sinh", "cosh",
     "asin", "acos", "atan", "atan2", "asinh", "acosh", "atanh", "maximum", "minimum", "clip",
     "pow", "reciprocal", "sign", "floor", "ceil", "round", "trunc", "relu", "relu_grad", "sigmoid",
     "where", "astype", "ones_like", "zeros_like", "full_like", "less", "less_equal", "greater",
     "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not", "isfinite",
     "isnan", "isinf", "copysign", "signbit", "hypot", "remainder", "floor_divide"}
)  # fmt: skip
_FREE = frozenset({"ones_like", "zeros_like", "full_like", "astype", "copy", "take", "concat"})


def nbytes(program: Program, number: int) -> int:
    """Bytes of one value."""
    value = program.values[number]
    digits = "".join(c for c in value.dtype if c.isdigit())
    return value.size * (_ITEM[value.dtype] if value.dtype in _ITEM else int(digits) // 8)


def _size(program: Program, number: Any) -> int:
    return 0 if isinstance(number, Literal) else program.values[number].size


def flops(program: Program, instruction: Instruction) -> int:
    """Floating-point operations of one instruction, a multiplication and an addition as two."""
    op, shapes = instruction.op, [program.values[n].shape for n in instruction.reads]
    out = program.values[instruction.outs[0]]
    if op == "conv2d":
        return 2 * out.size * math.prod(shapes[1][:3])
    if op == "conv2d_input_grad":
        return 2 * math.prod(shapes[0]) * math.prod(shapes[1][:3])
    if op == "conv2d_weight_grad":
        return 2 * math.prod(shapes[1]) * math.prod(out.shape[:3])
    if op in ("matmul", "linear"):
        return 2 * out.size * shapes[0][-1] + (out.size if op == "linear" else 0)
    if op in VIEWS or op in _FREE:
        return 0
    return max([out.size, *(_size(program, n) for n in instruction.reads)])


def traffic(program: Program) -> int:
    """Least bytes to and from memory; see :attr:`Program.bytes`."""
    source = _sources(program)
    made_by: dict[int, str] = {}
    readers: dict[int, set[str]] = {}
    for instruction in program.code:
        if instruction.op in VIEWS:
            continue
        made_by.update(dict.fromkeys(instruction.outs, instruction.op))
        for number in instruction.reads:
            readers.setdefault(source.get(number, number), set()).add(instruction.op)
    kept = {source.get(n, n) for n in program.outputs.values()}
    total = 0
    for number in {*made_by, *readers}:
        reads, size = readers.get(number, set()), nbytes(program, number)
        inside = made_by.get(number) in ELEMENTWISE and reads and reads <= ELEMENTWISE
        if inside and number not in kept:
            continue
        total += size * ((number in made_by) + bool(reads))
    return total


def _sources(program: Program) -> dict[int, int]:
    """For each view, the value that it looks at."""
    source: dict[int, int] = {}
    for instruction in program.code:
        if instruction.op in VIEWS and len(instruction.reads) == 1:
            of = instruction.reads[0]
            source.update(dict.fromkeys(instruction.outs, source.get(of, of)))
    return source


def describe(program: Program) -> str:
    """A program as text: inputs, one line for each instruction, outputs, and what it costs."""
    lines = [f"inputs: {len(program.inputs)}, instructions: {len(program.code)}"]
    lines += [f"  %{n} = {name}: {program.values[n]}" for name, n in program.inputs.items()]
    for instruction in program.code:
        outs = ", ".join(f"%{n}: {program.values[n]}" for n in instruction.outs)
        work = flops(program, instruction)
        note = f"    # {work:,} FLOPs" if work else ""
        lines.append(f"  {outs} = {call(instruction)}{note}")
    for name, n in program.outputs.items():
        goes = " (takes its storage)" if name in program.donations else ""
        lines.append(f"  {name} = %{n}{goes}")
    intensity = program.flops / max(program.bytes, 1)
    lines.append(
        f"{program.flops:,} FLOPs, at least {program.bytes:,} bytes to and from memory: "
        f"{intensity:.1f} FLOPs per byte"
    )
    return "\n".join(lines)


def call(instruction: Instruction) -> str:
    """An instruction without its results, as one would write it."""
    operands = [str(i) if isinstance(i, Literal) else f"%{i}" for i in instruction.ins]
    static = [f"{name}={_short(value)}" for name, value in instruction.static.items()]
    return f"{instruction.op}({', '.join(operands + static)})"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
