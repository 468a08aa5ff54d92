"""A program: what one step computed, as a straight line of applications of primitives.

It is pure: every instruction reads values and makes new ones. An output may *donate* to an input,
which says that whoever runs the program again and again will feed it back there; a plan may then
write it in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from agnostic_dl.errors import UsageError
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.primitives.dtypes import dtype_named

DTYPE = "dtype"  # the static argument that names a dtype, kept by its name


@dataclass(frozen=True)
class Value:
    """An array that a program has: its shape and the name of its dtype."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, eq=False)
class Literal:
    """An operand that is a Python number, or None where an array was left out.

    Two are equal if they are of one type and written alike: 1 is not 1.0, and NaN is NaN.
    """

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[type, str]:
        return type(self.value), repr(self.value)

    def __str__(self) -> str:
        return repr(self.value)


Operand = int | Literal


@dataclass(frozen=True)
class Instruction:
    """One application of the primitive *op*: values by number in, values by number out.

    *static*: every static argument, defaults filled in; a dtype by its name. *several*: the
    primitive returns a tuple.
    """

    op: str
    ins: tuple[Operand, ...]
    outs: tuple[int, ...]
    static: Mapping[str, Any] = field(default_factory=dict)
    several: bool = False

    @property
    def reads(self) -> tuple[int, ...]:
        """The values that it reads."""
        return tuple(i for i in self.ins if not isinstance(i, Literal))


@dataclass(frozen=True)
class Program:
    """A straight line of instructions.

    *inputs*, *outputs*: name → value. *donations*: output → the input that it is fed back to.
    *constants*: arrays that the step closed over, by value. *guard*: the output, a 0-d bool, that
    must be true for anything donated to take effect.
    """

    values: Mapping[int, Value]
    code: tuple[Instruction, ...]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    donations: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[int, Any] = field(default_factory=dict)
    guard: str | None = None

    @cached_property
    def state(self) -> tuple[str, ...]:
        """The inputs that live on from run to run: parameters, buffers, optimizer state."""
        fed = set(self.donations.values())
        return tuple(n for n in self.inputs if n in fed or n.partition(".")[0] in STATE_KINDS)

    @cached_property
    def results(self) -> tuple[str, ...]:
        """The outputs that a run hands out: those that are not fed back."""
        return tuple(name for name in self.outputs if name not in self.donations)

    @cached_property
    def last_uses(self) -> list[list[int]]:
        """For each instruction, the values that nothing needs after it."""
        seen = {*self.outputs.values(), *self.constants}
        dead: list[list[int]] = []
        for instruction in reversed(self.code):
            last = {n for n in (*instruction.reads, *instruction.outs) if n not in seen}
            seen |= last
            dead.append(sorted(last))
        return dead[::-1]

    @property
    def flops(self) -> int:
        """Floating-point operations; a multiplication and an addition count as two."""
        from agnostic_dl.primitives import cost

        return sum(cost.flops(self, instruction) for instruction in self.code)

    @property
    def bytes(self) -> int:
        """Least bytes to and from memory: each value written once and read once.

        What a fused loop over elements keeps in registers does not count, nor do views.
        """
        from agnostic_dl.primitives import cost

        return cost.traffic(self)

    def bound(self, flops_per_second: float, bytes_per_second: float) -> float:
        """Seconds below which no machine of these speeds can run it (the roofline).

        Source: Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance
        Model", CACM 52(4), 2009.
        """
        return max(self.flops / flops_per_second, self.bytes / bytes_per_second)

    def interpreted(self, backend: Any, like: Any = None) -> InterpretedPlan:
        """The plan that applies one primitive after the other, on any backend."""
        return InterpretedPlan(self, backend, like)

    def __str__(self) -> str:
        from agnostic_dl.primitives import cost

        return cost.describe(self)


#: First parts of the names of inputs that are state even if nothing is fed back to them.
STATE_KINDS = ("flat", "param", "slot", "buffer")


class Plan(Protocol):
    """A program made ready to run many times; it holds the state."""

    @property
    def program(self) -> Program:
        """What it runs."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Take state over, by name of the input; the arrays are copied."""
        ...

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run once on the other inputs (0-d ones also as Python numbers) and keep the new state.

        Returns the results, which are the caller's own; where the guard is false, at least that
        and the results that it was made from.
        """
        ...

    def read(self, name: str) -> Any:
        """A copy of one array of the state, in its documented layout; not to be written to."""
        ...

    def rest(self) -> None:
        """Something else needs memory before the next run: give back what can be made again."""
        ...


class InterpretedPlan:
    """The plan of a backend without one of its own: one primitive after the other."""

    def __init__(self, program: Program, backend: Any, like: InterpretedPlan | None = None) -> None:
        self.program, self._backend = program, backend
        self._state: dict[str, Any] = {} if like is None else like._state

    def load(self, state: Mapping[str, Any]) -> None:
        """Take state over, by name of the input."""
        self._state.update(state)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run once; see :class:`Plan`."""
        program = self.program
        arrays = {name: self._array(name, value) for name, value in inputs.items()}
        needed = {name: self._state[name] for name in program.state}
        found = interpret(program, {**arrays, **needed}, self._backend.xp)
        if program.guard is None or bool(found[program.guard]):
            self._state.update({to: found[name] for name, to in program.donations.items()})
        return {name: found[name] for name in program.results}

    def read(self, name: str) -> Any:
        """One array of the state: new ones take its place, it is never written to."""
        return self._state[name]

    def rest(self) -> None:
        """Between runs it holds nothing but the state."""

    def _array(self, name: str, value: Any) -> Any:
        if isinstance(value, (int, float)):
            dtype = self._backend.dtypes[self.program.values[self.program.inputs[name]].dtype]
            return self._backend.xp.asarray(value, dtype=dtype, device=self._backend.device)
        return value


def interpret(program: Program, arrays: Mapping[str, Any], xp: Any) -> dict[str, Any]:
    """Run a program on arrays by name of the input: its outputs by name.

    Goes through the primitives, and so through the kernels of the arrays' backend.
    """
    held: dict[int, Any] = dict(program.constants)
    for name, number in program.inputs.items():
        if name not in arrays:
            raise UsageError(
                f"the program needs the inputs {', '.join(program.inputs)}; {name} is missing"
            )
        held[number] = arrays[name]
    for instruction, dead in zip(program.code, program.last_uses, strict=True):
        operands = tuple(i.value if isinstance(i, Literal) else held[i] for i in instruction.ins)
        static = resolved(instruction.static, xp)
        out = PRIMITIVES[instruction.op].run(operands, static)
        held.update(zip(instruction.outs, out if instruction.several else (out,), strict=True))
        for number in dead:
            held.pop(number, None)
    return {name: held[number] for name, number in program.outputs.items()}


def resolved(static: Mapping[str, Any], xp: Any) -> dict[str, Any]:
    """Static arguments for a library: dtypes by name become its own."""
    if isinstance(static.get(DTYPE), str):
        return {**static, DTYPE: dtype_named(xp, static[DTYPE])}
    return dict(static)
