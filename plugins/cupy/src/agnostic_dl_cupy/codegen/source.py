"""From a chain of instructions to the text of one kernel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from agnostic_dl.extend import Instruction, Literal, Operand, Value
from agnostic_dl_cupy.codegen.literals import literal
from agnostic_dl_cupy.codegen.operations import (
    COMPUTED,
    HALVES,
    LOGIC,
    QUESTIONS,
    STORED,
    common,
)
from agnostic_dl_cupy.codegen.preamble import preamble


@dataclass(frozen=True)
class Source:
    """A kernel's text: equal chains of equal dtypes have equal ones, whatever their shape.

    *name* is its function, made of the hash of *body*. Parameters: the number of elements, the
    number of whole fours among them that may be moved at once, the inputs' and then the outputs'
    addresses in the chain's order. *uniform*: for each input whether it is 0-d.
    """

    name: str
    body: str
    uniform: tuple[bool, ...]

    @property
    def text(self) -> str:
        """All that the compiler needs."""
        return preamble() + self.body


def source_of(chain: Instruction, values: Mapping[int, Value]) -> Source:
    """The kernel of a chain (:func:`agnostic_dl.extend.chained`) whose values are *values*."""
    body = _Writer(chain, values).body()
    name = "chain_" + hashlib.sha256(body.encode()).hexdigest()[:16]
    shape = values[chain.outs[0]].shape
    uniform = tuple(values[n].shape != shape for n in chain.reads)
    return Source(name, body.replace("@NAME@", name), uniform)


class _Writer:
    """Writes one kernel; values are named by their order in the chain, not by their numbers."""

    def __init__(self, chain: Instruction, values: Mapping[int, Value]) -> None:
        self.values = values
        self.ins, self.outs = chain.reads, chain.outs
        shape = values[chain.outs[0]].shape
        code: tuple[Instruction, ...] = chain.static["code"]
        whole = {n for n in self.ins if values[n].shape == shape}
        # What comes of 0-d values alone is computed once for each thread, before its loop.
        self.once = [i for i in code if shape != () and values[i.outs[0]].shape == ()]
        self.each = [i for i in code if i not in self.once]
        self.whole = [n for n in self.ins if n in whole]
        self.scalars = [n for n in self.ins if n not in whole]
        self.scalars += [i.outs[0] for i in self.once]
        numbers = dict.fromkeys([*self.ins, *(i.outs[0] for i in code)])
        self.name = {number: f"v{k}" for k, number in enumerate(numbers)}

    # -- the parts ---------------------------------------------------------------------------------

    def body(self) -> str:
        return self._element() + self._kernel()

    def _element(self) -> str:
        """The function of one element."""
        parameters = [f"{self._stored(n)} in_{self.name[n]}" for n in self.whole]
        parameters += [f"{self._computed(n)} {self.name[n]}" for n in self.scalars]
        parameters += [f"{self._stored(n)}& to_{self.name[n]}" for n in self.outs]
        lines = [self._loaded(n, f"in_{self.name[n]}") for n in self.whole]
        lines += [self._line(instruction) for instruction in self.each]
        lines += [f"store({self.name[n]}, to_{self.name[n]});" for n in self.outs]
        return f"EACH void @NAME@_element({', '.join(parameters)}) {{\n  {_joined(lines)}\n}}\n"

    def _kernel(self) -> str:
        parameters = ["long long count", "long long fours"]
        parameters += [f"const {self._stored(n)}* from_{self.name[n]}" for n in self.ins]
        parameters += [f"{self._stored(n)}* out_{self.name[n]}" for n in self.outs]
        scalars = [n for n in self.ins if n not in self.whole]
        lines = ["const long long first = blockIdx.x * (long long)blockDim.x + threadIdx.x;"]
        lines += ["const long long stride = (long long)gridDim.x * blockDim.x;"]
        lines += [self._loaded(n, f"*from_{self.name[n]}") for n in scalars]
        lines += [self._line(instruction) for instruction in self.once]
        return f"KERNEL @NAME@({', '.join(parameters)}) {{\n  {_joined(lines)}\n{self._loops()}}}\n"

    def _loops(self) -> str:
        """Fours of elements, every input into locals before anything is written; then the rest."""
        load = [
            f"const Four<{t}> {v}s = ((const Four<{t}>*)from_{v})[at];"
            for t, v in ((self._stored(n), self.name[n]) for n in self.whole)
        ]
        load += [f"Four<{self._stored(n)}> to_{self.name[n]};" for n in self.outs]
        store = [
            f"((Four<{self._stored(n)}>*)out_{self.name[n]})[at] = to_{self.name[n]};"
            for n in self.outs
        ]
        four = self._call("{v}s.at[k]", "to_{v}.at[k]")
        one = self._call("from_{v}[at]", "out_{v}[at]")
        return (
            "  for (long long at = first; at < fours; at += stride) {\n"
            f"    {_joined(load, 4)}\n    #pragma unroll\n"
            f"    for (int k = 0; k < 4; ++k) {four}\n    {_joined(store, 4)}\n  }}\n"
            f"  for (long long at = 4 * fours + first; at < count; at += stride) {one}\n"
        )

    def _call(self, whole: str, out: str) -> str:
        arguments = [whole.format(v=self.name[n]) for n in self.whole]
        arguments += [self.name[n] for n in self.scalars]
        arguments += [out.format(v=self.name[n]) for n in self.outs]
        return f"@NAME@_element({', '.join(arguments)});"

    # -- one instruction ---------------------------------------------------------------------------

    def _stored(self, number: int) -> str:
        return STORED[self.values[number].dtype]

    def _computed(self, number: int) -> str:
        return COMPUTED[self.values[number].dtype]

    def _loaded(self, number: int, where: str) -> str:
        return f"const {self._computed(number)} {self.name[number]} = load({where});"

    def _line(self, instruction: Instruction) -> str:
        (number,) = instruction.outs
        value, dtype = self._expression(instruction), self.values[number].dtype
        if dtype in HALVES and instruction.op not in ("positive", "zeros_like", "ones_like"):
            value = f"round_{dtype}({value})"
        return f"const {self._computed(number)} {self.name[number]} = {value};"

    def _expression(self, instruction: Instruction) -> str:
        op, ins = instruction.op, instruction.ins
        made = self.values[instruction.outs[0]].dtype
        if op in ("zeros_like", "ones_like"):
            return literal(op == "ones_like", made)
        if op == "astype":
            return self._cast(ins[0], made)
        if op == "where":
            test, first, other = self._as(ins[0], "bool"), *(self._as(i, made) for i in ins[1:])
            return f"{test} ? {first} : {other}"
        if op == "clip":
            return self._clipped(ins, made)
        dtype = self._compared(ins) if op in QUESTIONS else "bool" if op in LOGIC else made
        return f"op_{op}({', '.join(self._as(i, dtype) for i in ins)})"

    def _compared(self, ins: tuple[Operand, ...]) -> str:
        dtype = common([self.values[i].dtype for i in ins if not isinstance(i, Literal)])
        assert dtype is not None
        return dtype

    def _clipped(self, ins: tuple[Operand, ...], made: str) -> str:
        text = self._as(ins[0], made)
        for name, limit in zip(("maximum", "minimum"), ins[1:], strict=False):
            if limit != Literal(None):
                text = f"op_{name}({text}, {self._as(limit, made)})"
        return text

    def _cast(self, operand: Operand, dtype: str) -> str:
        return f"to_{COMPUTED[dtype]}({self._as(operand, dtype)})"

    def _as(self, operand: Operand, dtype: str) -> str:
        """An operand in the dtype that the operation computes in."""
        if isinstance(operand, Literal):
            return literal(operand.value, dtype)
        if self._computed(operand) == COMPUTED[dtype]:
            return self.name[operand]
        return f"to_{COMPUTED[dtype]}({self.name[operand]})"


def _joined(lines: list[str], indent: int = 2) -> str:
    return ("\n" + " " * indent).join(lines)
