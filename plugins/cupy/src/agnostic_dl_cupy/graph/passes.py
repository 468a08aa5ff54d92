"""What a program is made into before it runs on a device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from agnostic_dl.extend import (
    CHAIN,
    VIEWS,
    Instruction,
    Program,
    Rule,
    Value,
    chained,
    optimize,
    rewrite,
)
from agnostic_dl_cupy.codegen import accepts


def prepared(program: Program, rewrites: Iterable[Rule] = ()) -> Program:
    """The program as the kernels have it, its guard as selections, the rest in chains."""
    guarding = guarded(rewrite(program, rewrites))
    return uniform_constants(chained(optimize(guarding), accepts))


def guarded(program: Program) -> Program:
    """The program whose new state is the old one where the guard is false.

    Decided on the device, element by element, so that one graph serves both cases and nothing
    waits for the host; in a chain it costs one more register.
    """
    if program.guard is None:
        return program
    guard, values = program.outputs[program.guard], dict(program.values)
    code, outputs = list(program.code), dict(program.outputs)
    for name, to in program.donations.items():
        new, old = program.outputs[name], program.inputs[to]
        if new != old:
            chosen = max(values) + 1
            values[chosen] = values[new]
            code.append(Instruction("where", (guard, new, old), (chosen,)))
            outputs[name] = chosen
    return replace(program, values=values, code=tuple(code), outputs=outputs)


def uniform_constants(program: Program) -> Program:
    """The program whose constants of one number throughout, if only chains read them, are 0-d.

    An optimizer's array of ones is then a number in a register, and not read from memory.
    """
    others = {n for i in program.code if i.op != CHAIN for n in i.reads}
    others |= set(program.outputs.values())
    values, constants = dict(program.values), dict(program.constants)
    for number, array in program.constants.items():
        first = array.reshape(-1)[:1].reshape(()) if array.size else array
        if number not in others and bool((array == first).all()):
            constants[number] = first.copy()
            values[number] = Value((), values[number].dtype)
    return replace(program, values=values, constants=constants)


def sources(program: Program) -> dict[int, int]:
    """For each value that may be a view: the value whose memory it looks at."""
    found: dict[int, int] = {}
    for instruction in program.code:
        if instruction.op in VIEWS | {"astype", "positive", "getitem"} and instruction.reads:
            of = instruction.reads[0]
            found.update(dict.fromkeys(instruction.outs, found.get(of, of)))
    return found


def in_place(program: Program) -> dict[int, int]:
    """Value → the state input whose memory its chain may write it to.

    Only where nothing after the chain reads the old state, nor through a view of it.
    """
    source = sources(program)
    last: dict[int, int] = {}
    for place, instruction in enumerate(program.code):
        for number in instruction.reads:
            last[source.get(number, number)] = place
    read_out = {source.get(n, n) for n in program.outputs.values()}
    found: dict[int, int] = {}
    for name, to in program.donations.items():
        new, old = program.outputs[name], program.inputs[to]
        made = _chain_of(program, new)
        if made is None or new in found or last.get(old, -1) > made or old in read_out:
            continue
        if program.values[new] == program.values[old] and not _looks(program, made, old, source):
            found[new] = old
    return found


def _chain_of(program: Program, number: int) -> int | None:
    """The place of the chain that makes the value, if one does."""
    for place, instruction in enumerate(program.code):
        if number in instruction.outs:
            return place if instruction.op == CHAIN else None
    return None


def _looks(program: Program, place: int, old: int, source: dict[int, int]) -> bool:
    """Whether the chain reads the old state in another order of its elements: through a view."""
    return any(n != old and source.get(n, n) == old for n in program.code[place].reads)
