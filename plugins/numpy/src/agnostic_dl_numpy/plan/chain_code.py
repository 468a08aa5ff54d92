"""A chain as operations over places, of which as few as possible are memory of its own."""

from __future__ import annotations

from collections.abc import Set
from functools import partial
from typing import Any

from agnostic_dl.extend import Instruction, Literal
from agnostic_dl_numpy.plan import scaled_sums
from agnostic_dl_numpy.plan.pointwise import OPERATIONS, result_dtype

Place = tuple[str, int]


class ChainCode:
    """A chain as operations over places: inputs, outputs and registers."""

    def __init__(
        self, chain: Instruction, dtypes: dict[int, Any], aliases: dict[int, list[int]]
    ) -> None:
        """*dtypes*: of the inputs; *aliases*: output → the inputs whose memory it takes over."""
        self._dtypes = dict(dtypes)
        self.code: tuple[Instruction, ...] = chain.static["code"]
        self.ins = {number: k for k, number in enumerate(chain.reads)}
        self.outs = {number: k for k, number in enumerate(chain.outs)}
        self.last = {n: at for at, i in enumerate(self.code) for n in (*i.outs, *i.reads)}
        self.places: dict[int, Place] = {n: ("in", k) for n, k in self.ins.items()}
        #: What binds a call to its operands and ``out=``, the operands, the place of the result.
        self.steps: list[tuple[Any, tuple[Any, ...], Place]] = []
        self.copies: list[tuple[Place, Place]] = []
        #: The dtype of each register.
        self.registers: list[Any] = []
        self._free: dict[Any, list[int]] = {}
        for at, instruction in enumerate(self.code):
            self._add(at, instruction, aliases)

    def _add(self, at: int, instruction: Instruction, aliases: dict[int, list[int]]) -> None:
        operands = tuple(
            i.value if isinstance(i, Literal) else self.places[i] for i in instruction.ins
        )
        (number,) = instruction.outs
        dtypes = [self._dtypes[n] for n in instruction.reads]
        self._dtypes[number] = result_dtype(instruction.op, dtypes)
        summed = instruction.reads[-1] if instruction.op == scaled_sums.SCALED_SUM else None
        self._let_go(at, set(instruction.reads) - {summed})
        if summed is not None and self.places[summed][0] == "register":
            target = self.places[summed]
        else:
            target = self._target(at, number, aliases)
        self.places[number] = target
        if summed is not None:
            bind: Any = partial(scaled_sums.bind, instruction.static["signs"])
        else:
            bind = partial(partial, OPERATIONS[instruction.op])
        self.steps.append((bind, operands, target))

    def _let_go(self, at: int, numbers: Set[int]) -> None:
        """Registers of values that nothing reads after this; those of outputs are copied later."""
        late = {n for n in self.outs if self.places.get(n, ("", 0))[0] == "register"}
        for number in numbers - late:
            place = self.places[number]
            if place[0] == "register" and self.last[number] == at:
                self._free[self._dtypes[number]].append(place[1])

    def _target(self, at: int, number: int, aliases: dict[int, list[int]]) -> Place:
        """An output's own memory, unless what it takes over is still read later in the chain."""
        if number in self.outs:
            if all(self.last.get(over, -1) <= at for over in aliases.get(number, ())):
                return "out", self.outs[number]
            register = ("register", self._register(number))
            self.copies.append((register, ("out", self.outs[number])))
            return register
        return "register", self._register(number)

    def _register(self, number: int) -> int:
        dtype = self._dtypes[number]
        free = self._free.setdefault(dtype, [])
        if free:
            return free.pop()
        self.registers.append(dtype)
        return len(self.registers) - 1
