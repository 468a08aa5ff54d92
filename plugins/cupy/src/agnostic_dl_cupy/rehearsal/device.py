"""A device that is none: NumPy's arrays, a log of what was asked for, and graphs that remember.

A captured graph keeps the arrays themselves, as CUDA keeps addresses: a replay reads and writes
those and no others. Memory comes from the private pool while work goes on, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from agnostic_dl.extend import PRIMITIVES, Instruction, Literal, Value, resolved
from agnostic_dl_cupy.codegen import ChainKernel
from agnostic_dl_cupy.rehearsal import chains

Work = Callable[[], Any]
#: What CuPy computes by libraries that it refuses to call while a stream is captured.
BY_LIBRARIES = frozenset(
    {"matmul", "linear", "tensordot", "vecdot", "conv2d", "conv2d_bias", "conv2d_input_grad",
     "conv2d_weight_grad"}
)  # fmt: skip


class FakeDevice:
    """In the place of :class:`CudaDevice`.

    *fail_at*: the work that a capture refuses; *generated*: chains run as the generated kernels,
    compiled by g++, and not by their primitives; *kernels*: the backend's, where a capture is to
    refuse the products that they do not compute, as CuPy does.
    """

    def __init__(
        self, xp: Any, fail_at: str | None = None, *, rewrites: Iterable[Any] = (),
        generated: bool = False, kernels: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:  # fmt: skip
        self.xp, self.fail_at, self.generated, self.kernels = xp, fail_at, generated, kernels
        self.rewrites = tuple(rewrites)
        self.log: list[str] = []
        self.private: list[Any] = []
        self.outside: list[Any] = []
        self.placed: list[Any] = []
        self.inside = self.capturing = False
        self.graph: list[Work] = []

    @contextmanager
    def working(self) -> Iterator[None]:
        assert not self.inside
        self.inside = True
        try:
            yield
        finally:
            self.inside = False

    # -- memory ------------------------------------------------------------------------------------

    def _taken(self, array: Any) -> Any:
        (self.private if self.inside else self.outside).append(array)
        return array

    def place(self, value: Value) -> Any:
        assert not self.inside, "what a plan keeps is not of the private pool"
        self.placed.append(np.full(value.shape, 77, dtype=value.dtype))
        return self.placed[-1]

    def empty(self, value: Value) -> Any:
        assert self.inside
        self.log.append("empty")
        return self._taken(np.full(value.shape, 77, dtype=value.dtype))

    def copy(self, to: Any, array: Any) -> None:
        self._do("copy", lambda: np.copyto(to, array))

    def upload(self, to: Any, numbers: list[float | int]) -> None:
        assert not self.capturing, "the host cannot be read from while a stream is capturing"
        self.log.append("upload")
        to[...] = numbers

    def fresh(self, array: Any) -> Any:
        assert not self.inside
        return self._taken(array.copy())

    # -- computing ---------------------------------------------------------------------------------

    def apply(self, instruction: Instruction, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        static = resolved(instruction.static, self.xp)

        def compute() -> tuple[Any, ...]:
            out = self._computed(instruction.op, operands, static)
            return tuple(np.asarray(o) for o in (out if instruction.several else (out,)))

        outs = compute()
        arrays = [a for a in operands if isinstance(a, np.ndarray)]
        view = any(np.may_share_memory(o, a) for o in outs for a in arrays)
        if not view:
            outs = tuple(self._taken(np.array(o)) for o in outs)

        def again() -> None:
            if not view:
                for out, new in zip(outs, compute(), strict=True):
                    out[...] = new

        self._do(instruction.op, again)
        return outs

    def _computed(self, op: str, operands: tuple[Any, ...], static: Mapping[str, Any]) -> Any:
        if not self.capturing or self.kernels is None or op not in BY_LIBRARIES:
            return PRIMITIVES[op].run(operands, dict(static))
        kernel = self.kernels.get(op)
        out = NotImplemented if kernel is None else kernel(self.xp, *operands, **static)
        if out is NotImplemented:
            raise NotImplementedError(f"{op}: calling cuBLAS API during stream capture")
        return out

    def launch(self, kernel: ChainKernel, ins: list[Any], outs: list[Any]) -> None:
        run = self._by_the_source if self.generated else self._by_primitives
        self._do("launch", lambda: run(kernel, ins, outs))

    def _by_primitives(self, kernel: ChainKernel, ins: list[Any], outs: list[Any]) -> None:
        held: dict[Any, Any] = dict(zip(kernel.chain.reads, ins, strict=True))
        for i in kernel.chain.static["code"]:
            operands = tuple(o.value if isinstance(o, Literal) else held[o] for o in i.ins)
            static = resolved(i.static, self.xp)
            held[i.outs[0]] = np.asarray(PRIMITIVES[i.op].run(operands, static))
        for number, out in zip(kernel.chain.outs, outs, strict=True):
            out[...] = held[number]

    def _by_the_source(self, kernel: ChainKernel, ins: list[Any], outs: list[Any]) -> None:
        ins = [np.ascontiguousarray(array) for array in ins]
        chains.compiled(kernel.source)(kernel.count, kernel.count // 4, ins, outs)

    def _do(self, name: str, function: Work) -> None:
        assert self.inside, f"{name} outside of the plan's stream"
        self.log.append(name)
        if not self.capturing:
            function()
            return
        if self.fail_at == name:
            raise RuntimeError("the current stream is capturing, so synchronize is not allowed")
        self.graph.append(function)

    # -- graphs ------------------------------------------------------------------------------------

    def capture(self, function: Callable[[], Mapping[str, Any]]) -> tuple[Any, Mapping[str, Any]]:
        self.log.append("begin")
        self.capturing, self.graph = True, []
        try:
            found = function()
        finally:
            self.capturing = False
            self.log.append("end")
        return self.graph, found

    def replay(self, graph: Any) -> None:
        assert self.inside
        self.log.append("replay")
        for function in graph:
            function()
