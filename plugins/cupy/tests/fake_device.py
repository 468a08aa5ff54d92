"""A device that is none: NumPy's arrays, a log of what was asked for, and graphs that remember.

A captured graph keeps the arrays themselves, as CUDA keeps addresses: a replay reads and writes
those and no others. Memory comes from the private pool while work goes on, and says so.
"""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np

from agnostic_dl.extend import PRIMITIVES, Literal, resolved


class FakeDevice:
    def __init__(self, xp, fail_at=None):
        self.xp, self.fail_at = xp, fail_at
        self.log, self.private, self.outside, self.placed = [], [], [], []
        self.inside = self.capturing = False
        self.graph = None

    @contextmanager
    def working(self):
        assert not self.inside
        self.inside = True
        try:
            yield
        finally:
            self.inside = False

    def _taken(self, array):
        (self.private if self.inside else self.outside).append(array)
        return array

    def place(self, value):
        assert not self.inside, "what a plan keeps is not of the private pool"
        self.placed.append(np.full(value.shape, 77, dtype=value.dtype))
        return self.placed[-1]

    def empty(self, value):
        assert self.inside
        self.log.append("empty")
        return self._taken(np.full(value.shape, 77, dtype=value.dtype))

    def copy(self, to, array):
        self._do("copy", lambda: np.copyto(to, array))

    def upload(self, to, numbers):
        assert not self.capturing, "the host cannot be read from while a stream is capturing"
        self.log.append("upload")
        to[...] = numbers

    def fresh(self, array):
        assert not self.inside
        return self._taken(array.copy())

    def apply(self, instruction, operands):
        static = resolved(instruction.static, self.xp)

        def compute():
            out = PRIMITIVES[instruction.op].run(operands, static)
            return tuple(out) if instruction.several else (out,)

        outs = tuple(np.asarray(o) for o in compute())
        view = any(np.may_share_memory(o, a) for o in outs for a in operands
                   if isinstance(a, np.ndarray))  # fmt: skip
        if not view:
            outs = tuple(self._taken(np.array(o)) for o in outs)

        def again():
            if not view:
                for out, new in zip(outs, compute(), strict=True):
                    out[...] = new

        self._do(instruction.op, again)
        return outs

    def launch(self, kernel, ins, outs):
        def run():
            held = dict(zip(kernel.chain.reads, ins, strict=True))
            for i in kernel.chain.static["code"]:
                operands = tuple(o.value if isinstance(o, Literal) else held[o] for o in i.ins)
                held[i.outs[0]] = np.asarray(
                    PRIMITIVES[i.op].run(operands, resolved(i.static, self.xp))
                )
            for number, out in zip(kernel.chain.outs, outs, strict=True):
                out[...] = held[number]

        self._do("launch", run)

    def _do(self, name, function):
        assert self.inside, f"{name} outside of the plan's stream"
        self.log.append(name)
        if self.capturing:
            if self.fail_at == name:
                raise RuntimeError("the current stream is capturing, so synchronize is not allowed")
            self.graph.append(function)
        else:
            function()

    def capture(self, function):
        self.log.append("begin")
        self.capturing, self.graph = True, []
        try:
            found = function()
        finally:
            self.capturing = False
            self.log.append("end")
        return self.graph, found

    def replay(self, graph):
        assert self.inside
        self.log.append("replay")
        for function in graph:
            function()
