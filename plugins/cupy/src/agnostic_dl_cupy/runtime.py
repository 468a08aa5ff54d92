"""What the kernels need of a device: memory, contiguous arrays, a launch. CuPy's is here.

The rehearsal's runtime has the same methods on the host, so that everything above runs without a
GPU as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from agnostic_dl_cupy import templates
from agnostic_dl_cupy.templates import Variant

Shape = tuple[int, ...]

#: Bytes that a tensor of cuDNN begins at a multiple of.
ALIGNED = 16


class Runtime(Protocol):
    """Memory and launches on one device."""

    #: The number of the device.
    device: int
    #: Threads of a block; the rehearsal takes fewer.
    threads: int
    #: Blocks that are enough to fill the device.
    enough_blocks: int

    def takes(self, array: Any) -> bool:
        """Whether it is a plain array of this device."""

    def empty(self, shape: Shape, dtype: Any) -> Any:
        """A new C-contiguous array with anything in it."""

    def contiguous(self, array: Any) -> Any:
        """The array itself if it is C-contiguous, else a copy that is."""

    def current(self) -> AbstractContextManager[Any]:
        """The device made the thread's current one: libraries ask CUDA which that is."""

    def pointer(self, array: Any) -> int:
        """The address of its first element."""

    def stream(self) -> int:
        """The handle of the current stream."""

    def capturing(self) -> bool:
        """Whether work on the current stream is recorded and not done."""

    def scratch(self, size: int) -> Any:
        """So many bytes for a moment: no pool keeps them."""

    def kept(self, size: int) -> Any:
        """So many bytes for good: not of a plan's pool, which is to be given back whole."""

    def seconds(self, work: Callable[[], None]) -> float:
        """How long the device takes for what *work* queues on the current stream."""

    def launch(
        self, variant: Variant, kernel: str, grid: Sequence[int], threads: int, arguments: Any
    ) -> None:
        """Queue a kernel; arguments are arrays, NumPy scalars and records of NumPy's."""


class CupyRuntime:
    """Memory of CuPy's pool and RawKernels on the current stream."""

    threads = 256
    enough_blocks = 2048

    def __init__(self, device: int) -> None:
        import cupy

        self.device = device
        self.cupy = cupy
        self._functions: dict[tuple[Variant, str], Any] = {}

    def takes(self, array: Any) -> bool:
        return type(array) is self.cupy.ndarray and array.device.id == self.device

    def empty(self, shape: Shape, dtype: Any) -> Any:
        with self.current():
            return self.cupy.empty(shape, dtype=dtype)

    def contiguous(self, array: Any) -> Any:
        # Not ascontiguousarray alone: it makes one axis of none.
        return array if array.flags.c_contiguous else self.cupy.ascontiguousarray(array)

    def current(self) -> AbstractContextManager[Any]:
        device: AbstractContextManager[Any] = self.cupy.cuda.Device(self.device)
        return device

    def pointer(self, array: Any) -> int:
        address: int = array.data.ptr
        return address

    def stream(self) -> int:
        handle: int = self.cupy.cuda.get_current_stream(self.device).ptr
        return handle

    def capturing(self) -> bool:
        found: bool = self.cupy.cuda.get_current_stream(self.device).is_capturing()
        return found

    def scratch(self, size: int) -> Any:
        with self.current():
            memory = self.cupy.cuda.MemoryPointer(self.cupy.cuda.Memory(max(size, 1)), 0)
            return self.cupy.ndarray((max(size, 1),), "uint8", memory)

    def kept(self, size: int) -> Any:
        usual = self.cupy.get_default_memory_pool().malloc
        with self.current(), self.cupy.cuda.using_allocator(usual):
            return self.cupy.empty((max(size, 1),), dtype="uint8")

    def seconds(self, work: Callable[[], None]) -> float:
        with self.current():
            stream = self.cupy.cuda.get_current_stream(self.device)
            before, after = self.cupy.cuda.Event(), self.cupy.cuda.Event()
            stream.record(before)
            work()
            stream.record(after)
            after.synchronize()
            milliseconds: float = self.cupy.cuda.get_elapsed_time(before, after)
        return milliseconds / 1000

    def launch(
        self, variant: Variant, kernel: str, grid: Sequence[int], threads: int, arguments: Any
    ) -> None:
        with self.current():
            if (variant, kernel) not in self._functions:
                self._load(variant)
            self._functions[variant, kernel](tuple(grid), (threads,), arguments)

    def _load(self, variant: Variant) -> None:
        module = self.cupy.RawModule(
            code=templates.source(variant), options=templates.OPTIONS, backend="nvrtc"
        )
        for kernel in templates.UNITS[variant.unit]:
            self._functions[variant, kernel] = module.get_function(kernel)


def aligned(runtime: Runtime, array: Any) -> Any:
    """The array itself if it is C-contiguous and begins at a multiple of 16 bytes, else a copy."""
    array = runtime.contiguous(array)
    if runtime.pointer(array) % ALIGNED == 0:
        return array
    copy = runtime.empty(array.shape, array.dtype)
    with runtime.current():
        copy[...] = array
    return copy


class Launcher:
    """The launches of one kernel call: its dtype, and how many threads there are to be.

    *further*: another dtype that the unit is compiled for, see `templates.Variant`.
    """

    def __init__(self, runtime: Runtime, dtype: Any, further: str = "") -> None:
        self.runtime, self.further = runtime, further
        self.dtype = np.dtype(dtype)
        #: What the kernels compute with.
        self.accumulator = np.dtype("float64" if self.dtype == np.float64 else "float32")

    def each(self, unit: str, kernel: str, count: int, *arguments: Any) -> None:
        """Launch a kernel that walks over *count* elements with any number of threads."""
        threads = self.runtime.threads
        # Eight elements per thread at most before further blocks stop paying for themselves.
        blocks = min(-(-count // threads), self.runtime.enough_blocks * 8)
        self.grid(unit, kernel, (max(blocks, 1),), threads, *arguments)

    def grid(
        self, unit: str, kernel: str, grid: Sequence[int], threads: int, *arguments: Any,
        labels: str = "",
    ) -> None:  # fmt: skip
        variant = Variant(unit, self.dtype.name, labels or self.further)
        self.runtime.launch(variant, kernel, grid, threads, arguments)

    def scalar(self, value: float) -> Any:
        """A number as the kernels' ACCUM."""
        return self.accumulator.type(value)

    def empty(self, shape: Shape) -> Any:
        return self.runtime.empty(shape, self.dtype)


def supported(runtime: Runtime, first: Any, *others: Any) -> bool:
    """Whether all are non-empty arrays of the device and of one dtype that kernels are made for."""
    if not runtime.takes(first) or first.dtype.name not in templates.STORAGE:
        return False
    return all(runtime.takes(x) and x.dtype == first.dtype and x.size > 0 for x in (first, *others))
