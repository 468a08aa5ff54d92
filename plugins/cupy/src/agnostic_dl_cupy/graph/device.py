"""The little of CUDA that a plan needs: memory, one stream, launches, and capture."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from agnostic_dl.extend import PRIMITIVES, Instruction, Value
from agnostic_dl_cupy.codegen import ChainKernel


class CudaDevice:
    """A stream and a memory pool of their own; plans that share state share one of these.

    Graphs keep the addresses of their arrays, also of temporary ones. These come from this pool
    alone, which nobody else allocates from, and so nothing outside ever lies where a graph writes.
    """

    def __init__(self, backend: Any) -> None:
        import cupy

        self._cupy, self._backend = cupy, backend
        with backend.device:
            idle = backend.streams
            self.stream = idle.pop() if idle else cupy.cuda.Stream(non_blocking=True)
            self._blocks = _Blocks(cupy)
            self.pool = cupy.cuda.MemoryPool(self._blocks.allocate)
            given = backend.device, self._blocks, self.pool, idle, self.stream
            weakref.finalize(self, _give_back, *given).atexit = False
            # Recorded anew at each step: to make events costs the host more.
            self._before, self._after = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
            #: The stream that the last results were copied on.
            self._outside = cupy.cuda.get_current_stream()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work on the own stream and pool: after what was queued before, before what follows."""
        cupy = self._cupy
        with self._backend.device:
            outside = cupy.cuda.get_current_stream()
            self.stream.wait_event(outside.record(self._before))
            if outside != self._outside:  # another thread's, which may be copying results still
                self.stream.wait_event(self._outside.record(self._before))
                self._outside = outside
            try:
                with self.stream, cupy.cuda.using_allocator(self.pool.malloc):
                    yield
            finally:
                outside.wait_event(self.stream.record(self._after))

    @property
    def rewrites(self) -> tuple[Any, ...]:
        """The rules for programs that the backend's kernels ask for."""
        rules: tuple[Any, ...] = self._backend.rewrites
        return rules

    # -- memory ------------------------------------------------------------------------------------

    def place(self, value: Value) -> Any:
        """Memory for what a plan keeps: not of the pool, in which any graph may write."""
        with self._backend.device:
            return self.empty(value)

    def empty(self, value: Value) -> Any:
        """Memory for a value, C-contiguous."""
        return self._cupy.empty(value.shape, dtype=self._backend.dtypes[value.dtype])

    def copy(self, to: Any, array: Any) -> None:
        """Fill *to* with an array of the device."""
        self._cupy.copyto(to, array)

    def upload(self, to: Any, numbers: list[float | int]) -> None:
        """Fill the vector *to* with numbers of the host."""
        import numpy as np

        # On the own stream: a copy on the default one would not wait for the step before.
        to.set(np.asarray(numbers, dtype=to.dtype), stream=self.stream)

    def fresh(self, array: Any) -> Any:
        """A copy that is the caller's."""
        with self._backend.device:
            return array.copy()

    # -- computing ---------------------------------------------------------------------------------

    def apply(self, instruction: Instruction, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        """One primitive on arrays, by the backend's kernel of that name if there is one."""
        out = PRIMITIVES[instruction.op].run(operands, self._resolved(instruction.static))
        return tuple(out) if instruction.several else (out,)

    def _resolved(self, static: Mapping[str, Any]) -> dict[str, Any]:
        """Static arguments with the backend's dtypes: bfloat16 is not among CuPy's own names."""
        named = isinstance(static.get("dtype"), str)
        return {**static, "dtype": self._backend.dtypes[static["dtype"]]} if named else dict(static)

    def launch(self, kernel: ChainKernel, ins: list[Any], outs: list[Any]) -> None:
        """One generated kernel; what it reads in another order is put in order first."""
        kernel([self._cupy.ascontiguousarray(array) for array in ins], outs)

    # -- graphs ------------------------------------------------------------------------------------

    def capture(self, function: Callable[[], Mapping[str, Any]]) -> tuple[Any, Mapping[str, Any]]:
        """(a graph of the work that *function* queues, what it returns); nothing is computed.

        The capture ends also where *function* fails.
        """
        with _uncollected(), self._blocks.captured():
            self.stream.begin_capture()
            try:
                found = function()
            except BaseException:
                with suppress(Exception):  # a capture that was broken off ends with an error too
                    self.stream.end_capture()
                raise
            graph = self.stream.end_capture()
        graph.upload(self.stream)
        return graph, found

    def replay(self, graph: Any) -> None:
        """Queue a graph's work again."""
        graph.launch(self.stream)


class _Blocks:
    """The memory behind a pool, and what of it graphs write to.

    Where a pool of CuPy's finds no memory for an array, it gives back all that is free in it and
    tries again; to its eyes the temporary arrays of a graph are free.
    """

    def __init__(self, cupy: Any) -> None:
        class Block(cupy.cuda.Memory):  # type: ignore[misc]
            """CuPy's own class has no weak references."""

        self._block, self._pointer = Block, cupy.cuda.MemoryPointer
        self._there: weakref.WeakSet[Any] = weakref.WeakSet()
        self.kept: list[Any] = []
        self._capturing = False

    def allocate(self, size: int) -> Any:
        """New memory of the device, for the pool."""
        block = self._block(size)
        self._there.add(block)
        if self._capturing:
            self.kept.append(block)
        return self._pointer(block, 0)

    @contextmanager
    def captured(self) -> Iterator[None]:
        """Keep what there is and what comes while it lasts: the graph may write there."""
        self.kept, self._capturing = list(self._there), True
        try:
            yield
        finally:
            self._capturing = False


def _give_back(device: Any, blocks: _Blocks, pool: Any, idle: list[Any], stream: Any) -> None:
    """Empty the pool, since CuPy's do not when they are dropped; leave the stream to other plans.

    Called by whatever thread had the last reference, on whatever device.
    """
    try:
        with device:
            blocks.kept.clear()
            pool.free_all_blocks()
    finally:
        idle.append(stream)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage is collected: a plan among it would free memory while a stream is captured."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
