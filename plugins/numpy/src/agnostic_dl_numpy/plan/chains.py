"""How a chain of elementwise operations runs: piece by piece, while a piece is in the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import local
from typing import Any

import numpy as np

from agnostic_dl.extend import Instruction
from agnostic_dl_numpy import scratch, threads
from agnostic_dl_numpy.plan.chain_code import ChainCode
from agnostic_dl_numpy.plan.memory import same_memory
from agnostic_dl_numpy.plan.scaled_sums import Taken, with_scaled_sums

#: Elements of a piece. Smaller ones would stay in a nearer cache, but cost more in calls and in
#: handing the interpreter from thread to thread: for Adam on 10 million parameters two threads took
#: 16.3 ms with 2^15, 12.0 with 2^16, 10.3 with 2^17, 8.9 with 2^18, 9.3 with 2^19, 10.3 with 2^20
#: (`benchmarks/fused_updates.py --pieces`).
PIECE = 1 << 18
#: Elements up to which a call's own cost is what counts.
SMALL = 1 << 14


def bind(chain: Instruction, ins: list[Any], outs: list[Any]) -> Callable[[], Any]:
    """A call without arguments that runs the chain on these arrays, some of them one memory."""
    code = _code(chain, ins, outs)
    # Copied at each run.
    plain = [np.empty(a.shape, a.dtype) if put_aside(a, outs) else a for a in ins]
    orders = [partial(np.copyto, p, a) for p, a in zip(plain, ins, strict=True) if p is not a]
    flat_ins = [a if a.shape == () else a.reshape(-1) for a in plain]
    return sequence([*orders, _bound(code, flat_ins, [a.reshape(-1) for a in outs])])


def _code(chain: Instruction, ins: list[Any], outs: list[Any]) -> ChainCode:
    inputs = dict(zip(chain.reads, ins, strict=True))
    dtypes = {number: array.dtype for number, array in inputs.items()}
    over, code = _taken_over(chain, ins, outs), chain.static["code"]
    if outs[0].size > SMALL:  # for few elements NumPy's calls cost less than BLAS's
        scalars = {number for number, array in inputs.items() if array.shape == ()}
        exact = {n for n, a in inputs.items() if any(same_memory(a, out) for out in outs)}
        code = with_scaled_sums(code, dtypes, Taken(set(chain.outs), scalars, over, exact))
    return ChainCode(replace(chain, static={"code": code}), dtypes, over)


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
        registers = [np.empty(total, dtype) for dtype in code.registers]
        return sequence(_calls(code, flat_ins, flat_outs, registers))
    plan = threads.pieces(total, PIECE)
    bound = local()  # the registers are the thread's own

    def bind_piece(index: int) -> list[Callable[[], Any]]:
        start, stop = plan[index]
        registers = [
            scratch.take(f"register {k}", (stop - start,), dtype)
            for k, dtype in enumerate(code.registers)
        ]
        ins, outs = _cut(flat_ins, start, stop), _cut(flat_outs, start, stop)
        calls = bound.__dict__[index] = _calls(code, ins, outs, registers)
        return calls

    def run(index: int) -> None:
        for call in bound.__dict__.get(index) or bind_piece(index):
            call()

    return partial(threads.spread, run, len(plan))


def _cut(arrays: list[Any], start: int, stop: int) -> list[Any]:
    return [a if a.shape == () else a[start:stop] for a in arrays]


def _calls(
    code: ChainCode, ins: list[Any], outs: list[Any], registers: list[Any]
) -> list[Callable[[], Any]]:
    """Calls with everything bound: what is looked up at each run holds up the other threads."""
    places, calls = {"in": ins, "out": outs, "register": registers}, []
    for bind, operands, (kind, k) in code.steps:
        arguments = [places[o[0]][o[1]] if isinstance(o, tuple) else o for o in operands]
        calls.append(bind(*_as_arrays(arguments), out=places[kind][k]))
    for (kind, k), (to, j) in code.copies:
        calls.append(partial(np.copyto, places[to][j], places[kind][k]))
    return calls


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
