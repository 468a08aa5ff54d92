"""A chain as the text of one loop."""

from __future__ import annotations

from collections.abc import Sequence

from agnostic_dl.extend import Instruction, Literal

#: Operation → its expression, with the bits of NumPy's own: no operation is contracted with
#: another, `maximum` and `minimum` hand NaN on, and of two equal values (zeros of two signs) the
#: second stands, as NumPy's vector instructions have it.
_EXACT = {
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} * {1}", "divide": "{0} / {1}",
    "negative": "-{0}", "abs": "abs({0})", "square": "{0} * {0}", "sqrt": "sqrt({0})",
    "reciprocal": "one / {0}", "floor": "floor({0})", "ceil": "ceil({0})", "trunc": "trunc({0})",
    "maximum": "{0} if {0} > {1} or {0} != {0} else {1}",
    "minimum": "{0} if {0} < {1} or {0} != {0} else {1}",
    "sign": "one if {0} > zero else (-one if {0} < zero else ({0} if {0} != {0} else zero))",
    "relu": "{0} if {0} > zero or {0} != {0} else zero",
    "relu_grad": "{0} if {1} > zero else zero",
    "where": "{1} if {0} else {2}",
    "greater": "{0} > {1}", "greater_equal": "{0} >= {1}", "less": "{0} < {1}",
    "less_equal": "{0} <= {1}", "equal": "{0} == {1}", "not_equal": "{0} != {1}",
    "logical_and": "{0} and {1}", "logical_or": "{0} or {1}", "logical_not": "not {0}",
    "logical_xor": "{0} != {1}",
}  # fmt: skip

#: Those that the C library computes, to its last bits and not to NumPy's, and one by one: for
#: every element NumPy's own vectors are up to thirty times as fast. So they are taken only where
#: they are computed once, from 0-d values.
_ONCE = {
    "exp": "exp({0})", "expm1": "expm1({0})", "log": "log({0})", "log1p": "log1p({0})",
    "sin": "sin({0})", "cos": "cos({0})", "tanh": "tanh({0})", "pow": "{0} ** {1}",
}  # fmt: skip

#: Exponents that become a product and a square root.
_EASY = (2.0, 0.5)

_TEMPLATE = """\
from math import cos, exp, expm1, inf, log, log1p, nan, sin, sqrt, tanh

from numpy import ceil, {dtype}, floor, trunc, uint8


def run({parameters}, start, stop):
    zero, one = {dtype}(0.0), {dtype}(1.0)
{before}
    for i in range(start, stop):
{inside}
"""


class UnknownChain(ValueError):
    """It has an operation that there is no expression for, or an operand that is no number."""


class ChainSource:
    """The text of a chain's loop over places in memory.

    *places*: for each input and then each output, the number of its memory: where an output takes
    over an input's, the two are one. *kinds*: for each memory "float32", "float64" or "bool".
    *scalars*: which inputs are 0-d, by their number in order. May raise UnknownChain.
    """

    def __init__(
        self, chain: Instruction, places: Sequence[int], kinds: Sequence[str],
        scalars: frozenset[int], dtype: str,
    ) -> None:  # fmt: skip
        self._dtype = dtype
        #: Value → the name that it has in the text.
        self._names: dict[int, str] = {}
        #: Values that are the same for every element.
        self._once: set[int] = set()
        self._before: list[str] = []
        self._inside: list[str] = []
        for k, number in enumerate(chain.reads):
            self._load(number, places[k], kinds[places[k]], k in scalars)
        for instruction in chain.static["code"]:
            self._compute(instruction)
        for number, place in zip(chain.outs, places[len(chain.reads) :], strict=True):
            name = self._names[number]
            value = f"uint8({name})" if kinds[place] == "bool" else name
            self._inside.append(f"p{place}[i] = {value}")
        self.text = _TEMPLATE.format(
            dtype=dtype, parameters=", ".join(f"p{k}" for k in range(len(kinds))),
            before="\n".join(f"    {line}" for line in self._before),
            inside="\n".join(f"        {line}" for line in self._inside),
        )  # fmt: skip

    def _load(self, number: int, place: int, kind: str, scalar: bool) -> None:
        value = f"p{place}[{0 if scalar else 'i'}]{' != 0' if kind == 'bool' else ''}"
        self._name(number, value, once=scalar)

    def _compute(self, instruction: Instruction) -> None:
        once = self._once.issuperset(instruction.reads)
        operands = [self._operand(i) for i in instruction.ins]
        (number,) = instruction.outs
        self._name(number, _expression(instruction, operands, once), once=once)

    def _name(self, number: int, value: str, *, once: bool) -> None:
        name = self._names[number] = f"x{len(self._names)}"
        (self._before if once else self._inside).append(f"{name} = {value}")
        if once:
            self._once.add(number)

    def _operand(self, operand: int | Literal) -> str:
        """A value by its name; a number in the chain's dtype, as NumPy would take it."""
        if not isinstance(operand, Literal):
            return self._names[operand]
        if operand.value is None:
            return ""
        if not isinstance(operand.value, (int, float)):
            raise UnknownChain(repr(operand))
        return f"{self._dtype}({float(operand.value)!r})"


def _expression(instruction: Instruction, operands: list[str], once: bool) -> str:
    op = instruction.op
    if op == "clip":
        return _clip(*operands)
    if op in _EXACT:
        return _EXACT[op].format(*operands)
    if op in _ONCE and (once or _is_easy_power(instruction)):
        return _ONCE[op].format(*operands)
    raise UnknownChain(op)


def _is_easy_power(instruction: Instruction) -> bool:
    exponent = instruction.ins[-1]
    return instruction.op == "pow" and isinstance(exponent, Literal) and exponent.value in _EASY


def _clip(x: str, least: str, most: str) -> str:
    """x, not below and not above the limits, of which one may be left out."""
    if least:
        x = f"({_EXACT['maximum'].format(least, x)})"
    return f"{_EXACT['minimum'].format(most, x)}" if most else x
