"""A generated kernel, compiled once for each text and device, and how it is launched."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from agnostic_dl.extend import Instruction, Value
from agnostic_dl_cupy.codegen.source import Source, source_of
from agnostic_dl_cupy.templates import OPTIONS

#: Threads of a block; blocks for each multiprocessor, enough to keep its memory busy.
THREADS, BLOCKS = 256, 8
#: Bytes at which four elements may be moved at once.
ALIGNED = 16


@cache
def compiled(source: Source) -> Any:
    """The kernel; CuPy compiles it at its first launch, and keeps it on disk."""
    import cupy

    return cupy.RawKernel(source.text, source.name, OPTIONS)


@cache
def processors(device: int) -> int:
    """How many multiprocessors a device has."""
    import cupy

    count: int = cupy.cuda.Device(device).attributes["MultiProcessorCount"]
    return count


def geometry(count: int, units: int) -> tuple[int, int]:
    """Blocks and threads for *count* elements on a device of *units* multiprocessors."""
    wanted = -(-count // (4 * THREADS))
    return max(1, min(wanted, units * BLOCKS)), THREADS


class ChainKernel:
    """A chain as one launch on given arrays, outputs among them: inputs may be written over."""

    def __init__(self, chain: Instruction, values: Mapping[int, Value]) -> None:
        self.chain, self.values = chain, values
        self.source = source_of(chain, values)
        self.count = values[chain.outs[0]].size

    def arguments(self, ins: list[Any], outs: list[Any]) -> tuple[int, ...]:
        """What the kernel is given: sizes and addresses."""
        addresses = [int(array.data.ptr) for array in (*ins, *outs)]
        scalars = (*self.source.uniform, *[False] * len(outs))
        whole = [a for a, scalar in zip(addresses, scalars, strict=True) if not scalar]
        fours = self.count // 4 if all(a % ALIGNED == 0 for a in whole) else 0
        return (self.count, fours, *addresses)

    def __call__(self, ins: list[Any], outs: list[Any]) -> None:
        """Launch on the current stream; every array C-contiguous, and alive until it is done."""
        if self.count:
            import cupy
            import numpy as np

            grid, block = geometry(self.count, processors(cupy.cuda.Device().id))
            given = tuple(np.int64(a) for a in self.arguments(ins, outs)[:2])
            compiled(self.source)((grid,), (block,), (*given, *ins, *outs))
