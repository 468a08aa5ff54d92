"""Chains of elementwise operations, an optimizer's update above all, as one compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_ssize_t, c_void_p
from functools import partial
from typing import Any

import numpy as np

from agnostic_dl.extend import CHAIN, Instruction
from agnostic_dl_numba.compiled import compiled
from agnostic_dl_numba.source import ChainSource, UnknownChain
from agnostic_dl_numpy import threads
from agnostic_dl_numpy.plan import Call, Kernel
from agnostic_dl_numpy.plan.chains import put_aside, sequence

#: Elements below which another thread would cost more than it brings.
ALONE = 1 << 15
#: Elements of a piece: long enough to be worth a call, short enough to share out evenly.
PIECE = 1 << 17


class ChainKernel(Kernel):
    """One loop for a chain: each array is read once and written once."""

    def bind(self, instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call | None:
        """See :class:`Kernel`; None for other dtypes and shapes, and for unknown operations."""
        dtype = _dtype(operands, outs)
        if dtype is None:
            return None
        plain = [np.empty(a.shape, a.dtype) if put_aside(a, outs) else a for a in operands]
        memory, places = _places([*plain, *outs])
        kinds = tuple(array.dtype.name for array in memory)
        scalars = frozenset(k for k, array in enumerate(operands) if array.shape == ())
        try:
            text = ChainSource(instruction, places, kinds, scalars, dtype).text
        except UnknownChain:
            return None
        arguments = ["uint8*" if kind == "bool" else f"{kind}*" for kind in kinds]
        function = compiled(text, (*arguments, "intp", "intp"))
        if function is None:
            return None
        orders = [
            partial(np.copyto, p, a) for p, a in zip(plain, operands, strict=True) if p is not a
        ]
        return sequence([*orders, _call(function, memory, outs[0].size)])


class SingleKernel(Kernel):
    """The same loop for one operation that NumPy needs several passes for; in plans alone."""

    def bind(self, instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call | None:
        """See :class:`Kernel`."""
        chain = Instruction(CHAIN, instruction.reads, instruction.outs, {"code": (instruction,)})
        return CHAINS.bind(chain, operands, outs)


CHAINS, SINGLE = ChainKernel(), SingleKernel()


def _dtype(operands: list[Any], outs: list[Any]) -> str | None:
    """The chain's one float dtype; None: these arrays are not for the kernel."""
    shape, arrays = outs[0].shape, (*operands, *outs)
    if not all(isinstance(a, np.ndarray) and a.dtype.isnative for a in arrays):
        return None
    if shape == () or not all(a.shape == shape and a.flags.c_contiguous for a in outs):
        return None
    if not all(a.shape in (shape, ()) for a in operands):
        return None
    names = {a.dtype.name for a in arrays} - {"bool"}
    return names.pop() if names in ({"float32"}, {"float64"}) else None


def _places(arrays: list[Any]) -> tuple[list[Any], list[int]]:
    """Arrays that begin at different places, and for each of *arrays* which of them it is."""
    memory: dict[int, Any] = {}
    for array in arrays:
        memory.setdefault(array.ctypes.data, array)
    numbers = {address: k for k, address in enumerate(memory)}
    return list(memory.values()), [numbers[array.ctypes.data] for array in arrays]


def _call(function: Callable[..., Any], memory: list[Any], total: int) -> Call:
    addresses = [c_void_p(array.ctypes.data) for array in memory]
    pieces = [(0, total)] if total < ALONE else threads.pieces(total, PIECE)
    calls: list[Any] = [
        partial(function, *addresses, c_ssize_t(start), c_ssize_t(stop)) for start, stop in pieces
    ]
    calls[0].memory = memory  # which the addresses are of: it must live as long
    if len(calls) == 1:
        return calls[0]
    return partial(threads.spread, lambda index: calls[index](), len(calls))
