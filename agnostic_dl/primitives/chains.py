"""Chains: elementwise instructions on arrays of one shape, put together as one instruction.

An optimizer's update is a dozen instructions on long arrays; as one chain it reads and writes each
array once. Which operations a chain may have is for the backend that runs it to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from agnostic_dl.primitives.passes import eliminate_dead
from agnostic_dl.primitives.program import Instruction, Program

#: The operation of an instruction that stands for several: static "code" holds them, with the
#: program's own numbers of values.
CHAIN = "elementwise"

Accepts = Callable[[Program, Instruction], bool]


def chained(program: Program, accepts: Accepts, least: int = 2) -> Program:
    """The program with chains in place of the instructions that *accepts* takes.

    A chain's arrays are of one shape; 0-d ones may join in, and what is computed from those alone
    is computed in the chain. Chains are convex: nothing outside lies between two parts of one. Of
    fewer than *least* instructions none is made.
    """
    grouping = _Grouping(program, accepts)
    for instruction in program.code:
        grouping.add(instruction)
    grouping.close_all()
    code: list[Instruction] = []
    for group in grouping.done:
        code += group if len(group) < least or group[0].op == CHAIN else [_chain(program, group)]
    found = eliminate_dead(replace(program, code=tuple(_absorbed(program, code, accepts))))
    return replace(found, values=program.values)  # those inside chains too


class _Grouping:
    """Walks a program in order with open groups, one for each shape.

    An instruction that needs an open group's values from outside closes it, and so the groups are
    convex and what is emitted stays in an order in which it can run.
    """

    def __init__(self, program: Program, accepts: Accepts) -> None:
        self.program, self.accepts = program, accepts
        self.open: dict[tuple[int, ...], list[Instruction]] = {}
        self.place: dict[int, tuple[int, ...]] = {}
        self.done: list[list[Instruction]] = []

    def add(self, instruction: Instruction) -> None:
        shape = _shape(self.program, instruction)
        joins = self.accepts(self.program, instruction) and _alike(self.program, instruction)
        for number in instruction.reads:
            where = self.place.get(number)
            if where is not None and not (joins and where == shape):
                self.close(where)
        if not joins:
            self.done.append([instruction])
            return
        self.open.setdefault(shape, []).append(instruction)
        self.place.update(dict.fromkeys(instruction.outs, shape))

    def close(self, shape: tuple[int, ...]) -> None:
        group = self.open.pop(shape)
        for instruction in group:
            for number in instruction.outs:
                del self.place[number]
        self.done.append(group)

    def close_all(self) -> None:
        for shape in list(self.open):
            self.close(shape)


def _shape(program: Program, instruction: Instruction) -> tuple[int, ...]:
    return program.values[instruction.outs[0]].shape


def _alike(program: Program, instruction: Instruction) -> bool:
    """Whether every array that it reads has the result's shape, or none."""
    shape = _shape(program, instruction)
    return all(program.values[n].shape in (shape, ()) for n in instruction.reads)


def _chain(program: Program, group: list[Instruction]) -> Instruction:
    made = {number for instruction in group for number in instruction.outs}
    inside = {id(instruction) for instruction in group}
    needed = set(program.outputs.values()) | {
        n for other in program.code if id(other) not in inside for n in other.reads
    }
    return _instruction(group, tuple(n for n in made if n in needed))


def _instruction(group: list[Instruction], outs: tuple[int, ...]) -> Instruction:
    made = {number for instruction in group for number in instruction.outs}
    ins = dict.fromkeys(n for i in group for n in i.reads if n not in made)
    return Instruction(CHAIN, tuple(ins), tuple(sorted(outs)), {"code": tuple(group)})


def _absorbed(program: Program, code: list[Instruction], accepts: Accepts) -> list[Instruction]:
    """Let chains compute the 0-d values that they read, where those come of 0-d ones.

    They may be computed twice: that costs nothing beside another pass.
    """
    scalar = {
        n: instruction
        for instruction in program.code
        for n in instruction.outs
        if _shape(program, instruction) == ()
        and accepts(program, instruction)
        and _alike(program, instruction)
    }
    return [_with_scalars(program, i, scalar) if i.op == CHAIN else i for i in code]


def _with_scalars(
    program: Program, chain: Instruction, scalar: dict[int, Instruction]
) -> Instruction:
    group = list(chain.static["code"])
    if _shape(program, group[0]) == ():
        return chain
    have = {n for i in group for n in i.outs}
    before: list[Instruction] = []

    def need(number: int) -> None:
        if number in have or number not in scalar:
            return
        have.add(number)
        for other in scalar[number].reads:
            need(other)
        before.append(scalar[number])

    for number in chain.reads:
        need(number)
    return _instruction([*before, *group], chain.outs) if before else chain
