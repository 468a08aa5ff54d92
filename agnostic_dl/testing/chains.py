"""Random chains of elementwise instructions, for kernels that take a chain at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.primitives.chains import CHAIN
from agnostic_dl.primitives.program import Instruction, Literal, Operand
from agnostic_dl.testing.samples import Draw, waves

#: Operation → how many operands, for those that rounding in an operand cannot throw far off.
_SMOOTH = {
    "add": 2, "subtract": 2, "multiply": 2, "divide": 2, "maximum": 2, "minimum": 2, "negative": 1,
    "abs": 1, "square": 1, "sqrt": 1, "reciprocal": 1, "relu": 1, "clip": 3, "where": 3,
}  # fmt: skip
_CURVED = dict.fromkeys(("exp", "expm1", "log", "log1p", "sin", "cos", "tanh"), 1) | {"pow": 2}
#: Those that jump: they read the chain's inputs alone, which are not rounded.
_STEPS = {"floor": 1, "ceil": 1, "trunc": 1, "sign": 1, "relu_grad": 2}
_COMPARE = dict.fromkeys(
    ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal"), 2
)
_LOGIC = {"logical_and": 2, "logical_or": 2, "logical_not": 1, "logical_xor": 2}
_ARITY = _SMOOTH | _CURVED | _STEPS | _COMPARE | _LOGIC
#: Operation → the operand that must keep its distance from 0.
_STEEP = {"sqrt": 0, "log": 0, "divide": 1, "reciprocal": 0, "pow": 0}
_LIMIT, _DISTANCE = 100.0, 0.1
_SPECIAL = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1.5, -1.5)
_SHAPES = ((5,), (1,), (3, 4), (2, 3, 5), (0,))
_LARGE = (150_001,)


@dataclass
class ChainCase:
    """A chain, the arrays that it reads, what it makes, and which of them take over which."""

    chain: Instruction
    arrays: list[Any]
    expected: list[Any]
    #: Place of an output → place of the array whose memory it is.
    taken_over: dict[int, int]

    def __str__(self) -> str:
        code = "; ".join(
            f"%{i.outs[0]} = {i.op}({', '.join(_written(operand) for operand in i.ins)})"
            for i in self.chain.static["code"]
        )
        reads = ", ".join(
            f"%{n}: {a.dtype}{tuple(a.shape)}"
            for n, a in zip(self.chain.reads, self.arrays, strict=True)
        )
        over = "".join(
            f", %{self.chain.outs[out]} in place of %{self.chain.reads[k]}"
            for out, k in self.taken_over.items()
        )
        return f"the chain ({reads}) {code}{over}"


def _written(operand: Operand) -> str:
    return str(operand) if isinstance(operand, Literal) else f"%{operand}"


def chain_cases(xp: Any, count: int) -> Iterator[ChainCase]:
    """*count* chains of each kind: smooth ones, and exact ones of NaN, infinities and zeros."""
    for seed in range(count):
        for dtype in (xp.float32, xp.float64):
            for special in (False, True):
                yield _Builder(Draw(xp, seed), dtype, special, large=seed % 8 == 7).case()


@dataclass
class _Builder:
    """Puts instructions together and computes them by the references as it goes."""

    draw: Draw
    dtype: Any
    special: bool
    large: bool
    held: dict[int, Any] = field(default_factory=dict)
    inputs: list[int] = field(default_factory=list)
    code: list[Instruction] = field(default_factory=list)

    def case(self) -> ChainCase:
        shape = _LARGE if self.large else self.draw.choice(*_SHAPES)
        for _ in range(self.draw.choice(2, 3, 4)):
            self._input(self._numbers(shape))
        self._input(self.draw.xp.asarray(0.75, dtype=self.dtype))
        if self.draw.choice(True, False):
            self._input(self.draw.booleans(shape if not self.large else ()))
        for _ in range(200):
            if len(self.code) < self.draw.random.randint(2, 9):
                self._step(shape)
        return self._finished(shape)

    # -- arrays -----------------------------------------------------------------------------------

    def _input(self, array: Any) -> None:
        self.inputs.append(len(self.held))
        self.held[len(self.held)] = array

    def _numbers(self, shape: tuple[int, ...]) -> Any:
        xp, size = self.draw.xp, math.prod(shape)
        if self.special and not self.large:
            numbers = [self.draw.random.choice(_SPECIAL) for _ in range(size)]
            return self.draw.array(numbers, shape, self.dtype)
        if self.large:
            return xp.astype(waves(xp, shape, 1.7 + len(self.held)), self.dtype)
        return xp.astype(self.draw.clear(shape), self.dtype)

    # -- instructions -----------------------------------------------------------------------------

    def _step(self, shape: tuple[int, ...]) -> None:
        """Try one more instruction; what would be badly conditioned is left out."""
        groups = (_SMOOTH, _SMOOTH, _STEPS, _COMPARE, _LOGIC)
        op = self.draw.choice(*self.draw.choice(*groups, *(() if self.special else (_CURVED,))))
        ins = self._operands(op)
        if ins is None or not self._steady(op, self._values(ins)):
            return
        made = PRIMITIVES[op].forward(self.draw.xp, *self._values(ins))
        if tuple(made.shape) in (shape, ()) and (self.special or self._bounded(made)):
            self._add(op, ins, made)

    def _values(self, ins: list[Operand]) -> list[Any]:
        return [i.value if isinstance(i, Literal) else self.held[i] for i in ins]

    def _add(self, op: str, ins: list[Operand], made: Any) -> None:
        self.code.append(Instruction(op, tuple(ins), (len(self.held),), {}))
        self.held[len(self.held)] = made

    def _operands(self, op: str) -> list[Operand] | None:
        jumps = op in _STEPS or op in _COMPARE
        numbers = [n for n in (self.inputs if jumps else self.held) if self._is_float(n)]
        truths = [n for n in self.held if not self._is_float(n)]
        if op in _LOGIC or op == "where":
            if not truths:
                return None
            if op in _LOGIC:
                return [self.draw.choice(*truths) for _ in range(_ARITY[op])]
            return [self.draw.choice(*truths), *self._some(numbers, 2)]
        if op == "clip":
            least = self.draw.choice(None, -0.5)
            return [self.draw.choice(*numbers), Literal(least),
                    Literal(self.draw.choice(*((None,) if least else ()), 0.75))]  # fmt: skip
        if op == "relu_grad":
            return [self.draw.choice(*numbers) for _ in range(2)]
        return self._some(numbers, _ARITY[op])

    def _some(self, numbers: list[int], count: int) -> list[Operand]:
        """Values, of which one may be a Python number where there are two."""
        found: list[Operand] = [self.draw.choice(*numbers) for _ in range(count)]
        if count == 2 and self.draw.random.random() < 0.4:
            found[self.draw.choice(0, 1)] = Literal(self.draw.choice(2, 0.5, 0.1, -1.5))
        return found

    def _is_float(self, number: int) -> bool:
        return bool(self.held[number].dtype == self.dtype)

    def _steady(self, op: str, operands: list[Any]) -> bool:
        if self.special or op not in _STEEP:
            return True
        steep = operands[_STEEP[op]]
        if not hasattr(steep, "dtype"):
            return bool(abs(steep) >= _DISTANCE and (op == "divide" or steep > 0))
        xp = self.draw.xp
        size = steep if op in ("sqrt", "log", "pow") else xp.abs(steep)
        return bool(xp.all(size >= _DISTANCE))

    def _bounded(self, made: Any) -> bool:
        xp = self.draw.xp
        if made.dtype != self.dtype:
            return True
        return bool(xp.all(xp.isfinite(made)) and xp.all(xp.abs(made) <= _LIMIT))

    # -- the whole --------------------------------------------------------------------------------

    def _finished(self, shape: tuple[int, ...]) -> ChainCase:
        self._add("add", [self.inputs[0], Literal(0.5)], self.held[self.inputs[0]] + 0.5)
        made = [i.outs[0] for i in self.code if self.held[i.outs[0]].shape == shape]
        outs = sorted({made[-1], *(n for n in made if self.draw.random.random() < 0.3)})
        reads = [n for n in self.inputs if any(n in i.reads for i in self.code)]
        chain = Instruction(CHAIN, tuple(reads), tuple(outs), {"code": tuple(self.code)})
        over: dict[int, int] = {}
        for place, number in enumerate(outs):
            like = self.held[number]
            fits = [
                k for k, n in enumerate(reads)
                if self.held[n].dtype == like.dtype and self.held[n].shape == like.shape
                and k not in over.values()
            ]  # fmt: skip
            if fits and self.draw.choice(True, False):
                over[place] = self.draw.choice(*fits)
        return ChainCase(chain, [self.held[n] for n in reads], [self.held[n] for n in outs], over)
