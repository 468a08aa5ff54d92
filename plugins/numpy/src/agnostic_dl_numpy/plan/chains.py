"""How a chain of elementwise operations runs: piece by piece, while a piece is in the cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from agnostic_dl.extend import Instruction, Literal
from agnostic_dl_numpy import scratch, threads
from agnostic_dl_numpy.plan.pointwise import OPERATIONS, result_dtype

#: Elements of a piece. Smaller ones would stay in a nearer cache, but cost more in handing the
#: interpreter from thread to thread than they save: for Adam on 10 million parameters two threads
#: took 25 ms with 2^15, 18 with 2^16, 13.4 with 2^17, 12.0 with 2^18 and no less beyond.
PIECE = 1 << 18
#: Elements up to which a call's own cost is what counts.
SMALL = 1 << 14

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
        late = {n for n in self.outs if self.places.get(n, ("", 0))[0] == "register"}
        for number in set(instruction.reads) - late:
            place = self.places[number]
            if place[0] == "register" and self.last[number] == at:
                self._free[self._dtypes[number]].append(place[1])
        (number,) = instruction.outs
        dtypes = [self._dtypes[n] for n in instruction.reads]
        self._dtypes[number] = result_dtype(instruction.op, dtypes)
        target = self._target(at, number, aliases)
        self.places[number] = target
        self.steps.append((OPERATIONS[instruction.op], operands, target))

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


def bind(chain: Instruction, ins: list[Any], outs: list[Any]) -> Callable[[], Any]:
    """A call without arguments that runs the chain on these arrays, some of them one memory."""
    aliases = _taken_over(chain, ins, outs)
    dtypes = {number: array.dtype for number, array in zip(chain.reads, ins, strict=True)}
    code = ChainCode(chain, dtypes, aliases)
    # Copied at each run.
    plain = [np.empty(a.shape, a.dtype) if put_aside(a, outs) else a for a in ins]
    orders = [partial(np.copyto, p, a) for p, a in zip(plain, ins, strict=True) if p is not a]
    flat_ins = [a if a.shape == () else a.reshape(-1) for a in plain]
    return sequence([*orders, _bound(code, flat_ins, [a.reshape(-1) for a in outs])])


def put_aside(array: Any, outs: list[Any]) -> bool:
    """Whether a chain reads a copy: what lies in no order, and a number in an output's memory.

    That every piece reads, and the first of them may have written over it.
    """
    if array.shape == ():
        return any(np.may_share_memory(array, out) for out in outs)
    return not array.flags.c_contiguous


def _taken_over(chain: Instruction, ins: list[Any], outs: list[Any]) -> dict[int, list[int]]:
    """Output → the inputs whose memory it takes over: more than one, where some are views."""
    return {
        number: [
            other for other, array in zip(chain.reads, ins, strict=True)
            if array.shape == out.shape and np.may_share_memory(array, out)
        ]
        for number, out in zip(chain.outs, outs, strict=True)
    }  # fmt: skip


def _bound(code: ChainCode, flat_ins: list[Any], flat_outs: list[Any]) -> Callable[[], Any]:
    total = flat_outs[0].size
    if total <= SMALL:
        return _small(code, flat_ins, flat_outs, total)
    plan = threads.pieces(total, PIECE)

    def run(index: int) -> None:
        start, stop = plan[index]
        registers = [
            scratch.take(f"register {k}", (stop - start,), dtype)
            for k, dtype in enumerate(code.registers)
        ]
        _execute(code, _cut(flat_ins, start, stop), _cut(flat_outs, start, stop), registers)

    return partial(threads.spread, run, len(plan))


def _cut(arrays: list[Any], start: int, stop: int) -> list[Any]:
    return [a if a.shape == () else a[start:stop] for a in arrays]


def _execute(code: ChainCode, ins: list[Any], outs: list[Any], registers: list[Any]) -> None:
    places = {"in": ins, "out": outs, "register": registers}
    for operation, operands, (kind, k) in code.steps:
        arguments = [places[o[0]][o[1]] if isinstance(o, tuple) else o for o in operands]
        operation(*arguments, out=places[kind][k])
    for (kind, k), (to, j) in code.copies:
        np.copyto(places[to][j], places[kind][k])


def _small(code: ChainCode, ins: list[Any], outs: list[Any], total: int) -> Callable[[], None]:
    """Calls with everything bound: for few elements nothing else may cost anything."""
    places = {
        "in": ins, "out": outs, "register": [np.empty(total, d) for d in code.registers]
    }  # fmt: skip
    calls = []
    for operation, operands, (kind, k) in code.steps:
        arguments = [places[o[0]][o[1]] if isinstance(o, tuple) else o for o in operands]
        calls.append(partial(operation, *_as_arrays(arguments), out=places[kind][k]))
    for (kind, k), (to, j) in code.copies:
        calls.append(partial(np.copyto, places[to][j], places[kind][k]))
    return sequence(calls)


def _as_arrays(operands: list[Any]) -> list[Any]:
    """Numbers as arrays, once and not at each call, in the dtype that they would take."""
    dtype = [a for a in operands if isinstance(a, np.ndarray)][-1].dtype
    return [a if a is None or isinstance(a, np.ndarray) else np.array(a, dtype) for a in operands]


def sequence(calls: list[Callable[[], Any]]) -> Callable[[], None]:
    """One call that makes them all."""
    if len(calls) == 1:
        return calls[0]

    def run() -> None:
        for call in calls:
            call()

    return run
