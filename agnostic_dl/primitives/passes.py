"""Passes over programs that need no library: what is computed twice, and what is not needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agnostic_dl.primitives.program import Instruction, Literal, Operand, Program


def optimize(program: Program) -> Program:
    """Compute nothing twice, and nothing in vain."""
    return eliminate_dead(eliminate_common(program))


def eliminate_common(program: Program) -> Program:
    """Compute what is computed twice from the same values once.

    Primitives are pure, so this never changes a result; and plans rely on it where one value must
    have one place, such as a parameter's view of its storage.
    """
    known: dict[Any, tuple[int, ...]] = {}
    renamed: dict[int, int] = {}
    code: list[Instruction] = []
    for instruction in program.code:
        ins = tuple(_renamed(i, renamed) for i in instruction.ins)
        key = (instruction.op, ins, frozen(instruction.static))
        if key in known:
            renamed.update(zip(instruction.outs, known[key], strict=True))
            continue
        known[key] = instruction.outs
        code.append(replace(instruction, ins=ins))
    outputs = {name: renamed.get(n, n) for name, n in program.outputs.items()}
    return replace(program, code=tuple(code), outputs=outputs)


def eliminate_dead(program: Program) -> Program:
    """Leave out what no output depends on."""
    needed = set(program.outputs.values())
    code: list[Instruction] = []
    for instruction in reversed(program.code):
        if needed.intersection(instruction.outs):
            needed.update(instruction.reads)
            code.append(instruction)
    code.reverse()
    used = {*needed, *(n for i in code for n in i.outs), *program.inputs.values()}
    return replace(
        program,
        code=tuple(code),
        values={n: value for n, value in program.values.items() if n in used},
        constants={n: array for n, array in program.constants.items() if n in used},
    )


def _renamed(operand: Operand, renamed: dict[int, int]) -> Operand:
    return operand if isinstance(operand, Literal) else renamed.get(operand, operand)


def frozen(value: Any) -> Any:
    """A static argument as something hashable that is equal where the arguments mean the same."""
    if isinstance(value, dict):
        return tuple(sorted((key, frozen(item)) for key, item in value.items()))
    if isinstance(value, (tuple, list)):
        return tuple(frozen(item) for item in value)
    if isinstance(value, slice):
        return "slice", frozen((value.start, value.stop, value.step))
    return type(value).__name__, repr(value)
