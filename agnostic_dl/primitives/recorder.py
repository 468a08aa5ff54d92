"""The recorder: watches a step compute, and writes down a program.

It runs on real values, so nothing is simulated: within :meth:`Recorder.watching` every primitive
that computes on plain arrays is noted with what it read and made. An array that enters and that
no primitive made is a constant of the program; what leaves the arrays' world (a Python number made
of an array, its raw data) ends the recording, since the program could not follow it.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from agnostic_dl.primitives import PRIMITIVES, cost
from agnostic_dl.primitives.definition import Primitive, is_scalar, library_of, watched_by, watcher
from agnostic_dl.primitives.dtypes import dtype_name
from agnostic_dl.primitives.program import DTYPE, Instruction, Literal, Operand, Program, Value

_PLAIN = (bool, int, float, complex, str, type(None), type(Ellipsis))


class Recorder:
    """Writes down what primitives compute; arrays are known by identity."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self._numbers: dict[int, int] = {}
        self._held: dict[int, Any] = {}
        self.values: dict[int, Value] = {}
        self.code: list[Instruction] = []
        self.inputs: dict[str, int] = {}
        self.constants: dict[int, Any] = {}
        #: Why the recording cannot stand for the step; None: it can.
        self.reason: str | None = None

    def watching(self) -> AbstractContextManager[None]:
        """In this context every primitive is noted."""
        return watched_by(self)

    # -- naming ---------------------------------------------------------------------------------

    def input(self, name: str, array: Any) -> None:
        """Make *array* the input of that name."""
        if id(array) in self._numbers:
            self.escape(f"one array is both {self._name_of(array)} and {name}")
        self.inputs[name] = self._new(array)

    def number(self, array: Any) -> int:
        """The value that an array is; one that nothing made is a constant."""
        found = self._numbers.get(id(array))
        if found is None:
            found = self._new(array)
            self.constants[found] = array
        return found

    def _new(self, array: Any) -> int:
        number = len(self.values)
        self.values[number] = Value(tuple(array.shape), dtype_name(array.dtype))
        self._remember(array, number)
        return number

    def _remember(self, array: Any, number: int) -> None:
        """Know the array by its identity for as long as it lives; identities are used again."""
        identity = id(array)
        self._numbers[identity] = number
        try:
            self._held[number] = weakref.ref(array, lambda _: self._forget(identity, number))
        except TypeError:  # an array that cannot be referred to weakly is kept
            self._held[number] = array

    def _forget(self, identity: int, number: int) -> None:
        if self._numbers.get(identity) == number:
            del self._numbers[identity]

    def _name_of(self, array: Any) -> str:
        number = self._numbers[id(array)]
        return next((name for name, n in self.inputs.items() if n == number), "a result")

    # -- what it watches ------------------------------------------------------------------------

    def apply(self, primitive: Primitive, arrays: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """Compute, and note it; what the forward itself is made of is not looked into."""
        if PRIMITIVES.get(primitive.name) is not primitive:  # plans know operations by their names
            self.escape(f"the primitive {primitive.name!r} is not one of the library's own")
        token = watcher.set(None)
        try:
            out = primitive.compute(arrays, static)
        finally:
            watcher.reset(token)
        several = isinstance(out, tuple)
        made = tuple(self._array(o) for o in (out if several else (out,)))
        ins = tuple(self._operand(array) for array in arrays)
        noted = {name: self._static(primitive, name, value) for name, value in static.items()}
        outs = tuple(self._new(array) for array in made)
        self.code.append(Instruction(primitive.name, ins, outs, noted, several))
        if not several:
            return made[0]
        return type(out)(*made) if hasattr(out, "_fields") else made

    def _array(self, out: Any) -> Any:
        """Libraries may return scalars that are shared between results: make an array of each."""
        kind = library_of("record", (out,))[0]
        return out if type(out) is kind else self.xp.asarray(out)

    def _operand(self, array: Any) -> Operand:
        return Literal(array) if is_scalar(array) else self.number(array)

    def _static(self, primitive: Primitive, name: str, value: Any) -> Any:
        if name == DTYPE and value is not None:
            return dtype_name(value, self.xp)
        if name != "device" and not _is_plain(value):
            self.escape(f"{primitive.name} was given an array as its argument {name!r}")
        return value

    def escape(self, reason: str) -> None:
        """Note that a program cannot follow this step, and why; the first reason counts."""
        if self.reason is None:
            self.reason = reason

    # -- the result -----------------------------------------------------------------------------

    def program(
        self, outputs: Mapping[str, Any], donations: Mapping[str, str], guard: str | None = None
    ) -> Program:
        """What was recorded, with these arrays as its outputs."""
        numbers = {name: self.number(array) for name, array in outputs.items()}
        return Program(
            dict(self.values), tuple(self.code), dict(self.inputs), numbers, dict(donations),
            dict(self.constants), guard,
        )  # fmt: skip


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, slice):
        return _is_plain((value.start, value.stop, value.step))
    return isinstance(value, _PLAIN)


def differs(first: Program, second: Program) -> str | None:
    """How two recordings of a step differ, in words; None: they are the same program."""
    if len(first.code) != len(second.code):
        return f"one step took {len(first.code)} operations, the next {len(second.code)}"
    for place, (a, b) in enumerate(zip(first.code, second.code, strict=True)):
        if a != b:
            return f"operation {place + 1} was {cost.call(a)} and then {cost.call(b)}"
    if first.inputs != second.inputs or first.outputs != second.outputs:
        return "the step's inputs and outputs changed"
    if first.values != second.values:
        return "shapes or dtypes changed"
    for number, array in first.constants.items():
        if not _same(array, second.constants.get(number)):
            return "an array enters the step that no primitive made, another one each time"
    return None


def _same(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if second is None or first.shape != second.shape or first.dtype != second.dtype:
        return False
    xp = library_of("record", (first,))[1]
    return bool(xp.all(xp.equal(first, second)))
