"""Rewrites: where a pattern of instructions stands in a program, others that compute the same.

A pattern is written as one would write the calls: ``("relu", ("conv2d", "x", "weight"))``. An
operand is a variable, which stands for the same value wherever its name occurs, or a pattern in
turn. ``"relu:r"`` names what a call makes, and ``"batch_norm:y mean var"`` each of several results.
A result that the replacement does not make again must have no other use, or the rule does not
apply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from typing import Literal as Only

from agnostic_dl.errors import UsageError
from agnostic_dl.primitives.program import Instruction, Literal, Operand, Program, Value

#: (operation, operand, ...).
Pattern = tuple[Any, ...]


@dataclass
class Match:
    """A place where a rule's patterns stand: what the variables are, and the instructions."""

    program: Program
    operands: dict[str, Operand] = field(default_factory=dict)
    found: dict[Pattern, Instruction] = field(default_factory=dict)
    _new: dict[int, Value] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Operand:
        """The operand that a variable, or a name for a result, stands for."""
        return self.operands[name]

    def number(self, name: str) -> int:
        """The number of the value that a variable stands for; UsageError: it is a literal here."""
        operand = self.operands[name]
        if isinstance(operand, Literal):
            raise UsageError(f"the variable {name!r} stands for the literal {operand}: no array")
        return operand

    def value(self, name: str) -> Value:
        """Shape and dtype of a variable; UsageError: it is a literal here."""
        return self.program.values[self.number(name)]

    def instruction(self, op: str) -> Instruction:
        """The one matched instruction of that operation."""
        return next(i for i in self.found.values() if i.op == op)

    def static(self, op: str) -> dict[str, Any]:
        """The static arguments of the matched instruction of that operation."""
        return dict(self.instruction(op).static)

    def new(self, value: Value) -> int:
        """A number for another value that the replacement makes."""
        number = max((*self.program.values, *self._new)) + 1
        self._new[number] = value
        return number


Build = Callable[[Match], "Sequence[Instruction] | None"]


@dataclass(frozen=True)
class Rule:
    """Patterns, and what to put in their place; *build* returns None where it does not apply.

    Rules of phase 0 move operations, those of phase 1 put several into one: every move is made
    before the first of those, whoever's rule it is.
    """

    patterns: tuple[Pattern, ...]
    build: Build
    phase: Only[0, 1] = 1


def rule(*patterns: Pattern, phase: Only[0, 1] = 1) -> Callable[[Build], Rule]:
    """Make a rule of a function that builds the replacement: ``build(match) -> instructions``.

    The replacement makes the results that live on, under their numbers.
    """
    return lambda build: Rule(patterns, build, phase)


def rewrite(program: Program, rules: Iterable[Rule]) -> Program:
    """Apply rules until none applies any more; earlier ones first, moves before all others."""
    ordered = sorted(rules, key=lambda one: one.phase)
    for _ in range(20 * len(program.code) + 20):
        changed = next(filter(None, (_applied(program, one) for one in ordered)), None)
        if changed is None:
            return program
        program = changed
    raise UsageError(
        "rewriting does not come to an end: one rule undoes what another does; each is expected to "
        "leave fewer instructions, or a form that no rule matches"
    )


def _applied(program: Program, one: Rule) -> Program | None:
    """The program with the first match of a rule replaced; None: it applies nowhere."""
    graph = _Graph(program)
    for match in graph.matches(one.patterns):
        match = replace(match, _new={})
        built = one.build(match)
        if built is not None and graph.closed(match, built):
            changed = _replaced(match, list(built))
            if changed is not None:
                return changed
    return None


class _Graph:
    """A program with who makes and who uses each value."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.maker = {n: i for i in program.code for n in i.outs}
        self.users: dict[int, list[Instruction]] = {}
        for instruction in program.code:
            for number in dict.fromkeys(instruction.reads):
                self.users.setdefault(number, []).append(instruction)

    @cached_property
    def _by_op(self) -> dict[str, list[Instruction]]:
        found: dict[str, list[Instruction]] = {}
        for instruction in self.program.code:
            found.setdefault(instruction.op, []).append(instruction)
        return found

    def matches(self, patterns: tuple[Pattern, ...]) -> Iterator[Match]:
        """Every way in which the patterns stand in the program."""
        yield from self._roots(patterns, Match(self.program))

    def _roots(self, patterns: tuple[Pattern, ...], match: Match) -> Iterator[Match]:
        if not patterns:
            yield match
            return
        for instruction in self._candidates(patterns[0], match):
            for longer in self._at(patterns[0], instruction, match):
                yield from self._roots(patterns[1:], longer)

    def _candidates(self, pattern: Pattern, match: Match) -> list[Instruction]:
        """Instructions that the pattern may be: the users of a variable that is known already."""
        op = pattern[0].partition(":")[0]
        for operand in pattern[1:]:
            known = match.operands.get(operand) if isinstance(operand, str) else None
            if isinstance(known, int):
                return [i for i in self.users.get(known, []) if i.op == op]
        return self._by_op.get(op, [])

    def _at(self, pattern: Pattern, instruction: Instruction, match: Match) -> Iterator[Match]:
        """The ways in which an instruction is the pattern."""
        op, _, names = pattern[0].partition(":")
        taken = any(instruction is other for other in match.found.values())
        if op != instruction.op or taken or len(pattern) != 1 + len(instruction.ins):
            return
        named = _with(match, zip(names.split(), instruction.outs, strict=False))
        if named is None:
            return
        found = {**named.found, pattern: instruction}
        yield from self._operands(pattern[1:], instruction.ins, replace(named, found=found))

    def _operands(
        self, patterns: tuple[Any, ...], operands: tuple[Operand, ...], match: Match
    ) -> Iterator[Match]:
        if not patterns:
            yield match
            return
        first, operand = patterns[0], operands[0]
        if isinstance(first, str):
            known = _with(match, [(first, operand)])
            ways: Iterable[Match] = [] if known is None else [known]
        else:
            maker = None if isinstance(operand, Literal) else self.maker.get(operand)
            ways = [] if maker is None else self._at(first, maker, match)
        for way in ways:
            yield from self._operands(patterns[1:], operands[1:], way)

    def closed(self, match: Match, built: Sequence[Instruction]) -> bool:
        """Whether nothing else uses what is no longer made."""
        inside = {id(i) for i in match.found.values()}
        kept = set(self.program.outputs.values())
        lost = {n for i in match.found.values() for n in i.outs}
        lost -= {n for i in built for n in i.outs}
        users = (user for number in lost for user in self.users.get(number, []))
        return not lost & kept and all(id(user) in inside for user in users)


def _with(match: Match, pairs: Iterable[tuple[str, Operand]]) -> Match | None:
    """The match with more names; None: one of them stands for something else already."""
    operands = dict(match.operands)
    for name, operand in pairs:
        if operands.setdefault(name, operand) != operand:
            return None
    return replace(match, operands=operands)


def _replaced(match: Match, built: list[Instruction]) -> Program | None:
    """The program with *built* in place of what was matched; None: it could not run in any order.

    That is so where an operation made of two would need what only one of them leads to.
    """
    program, gone = match.program, {id(i) for i in match.found.values()}
    places = [at for at, i in enumerate(program.code) if id(i) in gone]
    code = [i for i in program.code if id(i) not in gone]
    first = places[0] - sum(place < places[0] for place in places)
    ordered = _in_order([*code[:first], *built, *code[first:]])
    if ordered is None:
        return None
    values = {**program.values, **match._new}
    return replace(program, code=tuple(ordered), values=values)


def _in_order(code: list[Instruction]) -> list[Instruction] | None:
    """Instructions, as near to their order as can be, each after those whose results it reads."""
    made = {number for instruction in code for number in instruction.outs}
    ready: set[int] = set()
    ordered: list[Instruction] = []
    waiting = code
    while waiting:
        later: list[Instruction] = []
        for instruction in waiting:
            if all(n in ready or n not in made for n in instruction.reads):
                ready.update(instruction.outs)
                ordered.append(instruction)
            else:
                later.append(instruction)
        if len(later) == len(waiting):
            return None
        waiting = later
    return ordered
