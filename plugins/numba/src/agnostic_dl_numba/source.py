"""A chain as the text of one loop."""

from __future__ import annotations

from collections.abc import Sequence

from agnostic_dl.extend import Instruction, Literal

#: Operation → its expression, with the bits of NumPy's own: no operation is contracted with
#: another, and `maximum`, `minimum` hand NaN on.
EXACT = {
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} * {1}", "divide": "{0} / {1}",
    "negative": "-{0}", "abs": "abs({0})", "square": "{0} * {0}", "sqrt": "sqrt({0})",
    "reciprocal": "one / {0}", "floor": "floor({0})", "ceil": "ceil({0})", "trunc": "trunc({0})",
    "maximum": "{0} if {0} > {1} or {0} != {0} else {1}",
    "minimum": "{0} if {0} < {1} or {0} != {0} else {1}",
    "sign": "one if {0} > zero else (-one if {0} < zero else ({0} if {0} != {0} else zero))",
    "relu": "{0} if {0} > zero or {0} != {0} else zero",
    "relu_grad": "{0} if {1} > zero else zero",
}  # fmt: skip

#: Those that the C library computes one by one, to its last bits and not to NumPy's.
ROUNDED = {
    "exp": "exp({0})", "expm1": "expm1({0})", "log": "log({0})", "log1p": "log1p({0})",
    "sin": "sin({0})", "cos": "cos({0})", "tanh": "tanh({0})", "pow": "{0} ** {1}",
}  # fmt: skip

_EXPRESSIONS = EXACT | ROUNDED

_TEMPLATE = """\
from math import cos, exp, expm1, inf, log, log1p, nan, sin, sqrt, tanh

from numpy import ceil, {dtype}, floor, trunc


def chain({parameters}, start, stop):
    zero, one = {dtype}(0.0), {dtype}(1.0)
{before}
    for i in range(start, stop):
{inside}
"""


class ChainSource:
    """The text of a chain's loop over places in memory.

    *places*: for each input and then each output, the number of its memory: where an output takes
    over an input's, the two are one. *scalars*: the inputs of shape (), by their number in order.
    ValueError: it has an operation that is not known here, or an operand that is no number.
    """

    def __init__(
        self, chain: Instruction, places: Sequence[int], scalars: frozenset[int], dtype: str
    ) -> None:
        self._dtype = dtype
        #: Value → the name that it has in the text.
        self._names: dict[int, str] = {}
        #: Values that are the same for every element.
        self._once: set[int] = set()
        self._before: list[str] = []
        self._inside: list[str] = []
        for k, number in enumerate(chain.reads):
            self._load(number, places[k], k in scalars)
        for instruction in chain.static["code"]:
            self._compute(instruction)
        for number, place in zip(chain.outs, places[len(chain.reads) :], strict=True):
            self._inside.append(f"p{place}[i] = {self._names[number]}")
        self.text = _TEMPLATE.format(
            dtype=dtype, parameters=", ".join(f"p{k}" for k in range(max(places) + 1)),
            before="\n".join(f"    {line}" for line in self._before),
            inside="\n".join(f"        {line}" for line in self._inside),
        )  # fmt: skip

    def _load(self, number: int, place: int, scalar: bool) -> None:
        name = self._names[number] = f"x{len(self._names)}"
        if scalar:
            self._once.add(number)
            self._before.append(f"{name} = p{place}[0]")
        else:
            self._inside.append(f"{name} = p{place}[i]")

    def _compute(self, instruction: Instruction) -> None:
        if instruction.op not in _EXPRESSIONS:
            raise ValueError(instruction.op)
        operands = [self._operand(i) for i in instruction.ins]
        (number,) = instruction.outs
        name = self._names[number] = f"x{len(self._names)}"
        line = f"{name} = {_EXPRESSIONS[instruction.op].format(*operands)}"
        if self._once.issuperset(instruction.reads):
            self._once.add(number)
            self._before.append(line)
        else:
            self._inside.append(line)

    def _operand(self, operand: int | Literal) -> str:
        """A value by its name; a number in the chain's dtype, as NumPy would take it."""
        if not isinstance(operand, Literal):
            return self._names[operand]
        if not isinstance(operand.value, (int, float)):
            raise ValueError(repr(operand))
        return f"{self._dtype}({float(operand.value)!r})"
