"""Sums with a multiple, x + b·y, made in one pass in the memory of y: moving averages above all.

NumPy takes a pass for the product and one for the sum; BLAS's axpby takes one for both. The bits
are the same, which `blas.axpby` makes sure of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np

from agnostic_dl.extend import Instruction, Literal
from agnostic_dl_numpy import blas

#: The operation of an instruction that stands for both: its operands are x, b and y.
SCALED_SUM = "scaled sum"


class Taken(NamedTuple):
    """Which values of a chain are what."""

    outs: Set[int]
    #: 0-d inputs.
    scalars: Set[int]
    #: Output → the inputs whose memory it takes over.
    over: Mapping[int, Sequence[int]]
    #: Those of them that are the output's very memory.
    exact: Set[int]


def with_scaled_sums(
    code: Sequence[Instruction], dtypes: Mapping[int, Any], taken: Taken
) -> tuple[Instruction, ...]:
    """A chain's code with sums put together where y's memory is free for the sum.

    *dtypes*: of the inputs. A product that is put into its sum is left out.
    """
    return _Search(code, dtypes, taken).found()


class _Search:
    def __init__(
        self, code: Sequence[Instruction], dtypes: Mapping[int, Any], taken: Taken
    ) -> None:
        self.code, self.taken = code, taken
        self.makers = {i.outs[0]: i for i in code}
        self.uses = Counter(n for i in code for n in i.ins if not isinstance(n, Literal))
        self.last = {n: at for at, i in enumerate(code) for n in i.reads}
        #: Values whose memory a sum has taken.
        self.gone: set[int] = set()
        self.enabled = all(blas.axpby(np.dtype(d).char) for d in dtypes.values() if d != np.bool_)

    def found(self) -> tuple[Instruction, ...]:
        sums: dict[int, Instruction] = {}
        left_out: set[int] = set()
        for at, instruction in enumerate(self.code):
            if not self.enabled or instruction.op not in ("add", "subtract"):
                continue
            for product in (True, False):  # one that saves a product comes first
                found = self._sum(at, instruction, product)
                if found is not None:
                    sums[at] = found
                    left_out |= set(instruction.reads) - set(found.reads)
                    break
        return tuple(sums.get(at, i) for at, i in enumerate(self.code) if i.outs[0] not in left_out)

    def _sum(self, at: int, instruction: Instruction, product: bool) -> Instruction | None:
        for place in (0, 1):
            x, scaled = instruction.ins[1 - place], instruction.ins[place]
            if not self._is_array(x) or not self._is_array(scaled) or x == scaled:
                continue
            b, y = self._product(scaled) if product else (Literal(1.0), scaled)
            if y is not None and y != x and self._free(y, at, instruction.outs[0]):
                self.gone.add(y)
                signs = _signs(instruction.op, place)
                return Instruction(SCALED_SUM, (x, b, y), instruction.outs, {"signs": signs})
        return None

    def _is_array(self, operand: Any) -> bool:
        return not isinstance(operand, Literal) and operand not in self.taken.scalars

    def _product(self, number: Any) -> tuple[Any, Any]:
        """(b, y) of a product b·y that nothing else reads; y None: it is none."""
        maker = self.makers.get(number)
        if maker is None or maker.op != "multiply" or self.uses[number] > 1:
            return None, None
        if number in self.taken.outs:
            return None, None
        for b, y in (maker.ins, maker.ins[::-1]):
            if self._is_number(b) and self._is_array(y):
                return b, y
        return None, None

    def _is_number(self, operand: Any) -> bool:
        if isinstance(operand, Literal):
            return isinstance(operand.value, (int, float))
        return operand in self.taken.scalars

    def _free(self, y: int, at: int, out: int) -> bool:
        """Whether the sum may lie where y does: nothing reads y after it."""
        if y in self.gone or self.last[y] > at:
            return False
        if out in self.taken.outs:
            over = self.taken.over.get(out, ())
            here = y in over and y in self.taken.exact
            return here and all(self.last.get(other, -1) <= at for other in over)
        return y in self.makers and y not in self.taken.outs


def _signs(op: str, place: int) -> tuple[float, float]:
    """Of x and of the product, which is the operand at *place*."""
    if op == "add":
        return 1.0, 1.0
    return (1.0, -1.0) if place == 1 else (-1.0, 1.0)


def bind(signs: tuple[float, float], x: Any, b: Any, y: Any, *, out: Any) -> Callable[[], None]:
    """A call that computes ±x ± b·y; *b* is 0-d, *out* the memory of y."""
    axpby = blas.axpby(out.dtype.char)
    assert axpby is not None
    (of_x, of_y), start, to, size = signs, x.ctypes.data, out.ctypes.data, out.size

    def call() -> None:
        number = of_y * float(b)
        if number != 0:
            axpby(size, of_x, start, number, to)
        else:  # BLAS would leave y unread, but NaN times zero is NaN
            np.multiply(y, number, out=out)
            np.add(x, out, out=out) if of_x > 0 else np.subtract(out, x, out=out)

    return call
