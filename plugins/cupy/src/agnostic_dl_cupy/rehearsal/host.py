"""A runtime on the host: NumPy's arrays, and the kernels' CUDA source compiled by g++."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np

from agnostic_dl_cupy import templates
from agnostic_dl_cupy.storage import TABLE
from agnostic_dl_cupy.templates import Variant

#: Kernels whose threads meet.
_MEET = (
    "batch_norm_partial", "batch_norm_finish", "batch_norm_grad_partial", "batch_norm_grad_finish",
    "softmax_cross_entropy", "softmax_cross_entropy_grad", "transpose",
    "sum_partial", "sum_finish", "dot_partial",
)  # fmt: skip


def missing() -> str | None:
    """Why the rehearsal cannot run here, or None."""
    return None if shutil.which("g++") else "the host compiler g++ is absent"


class HostRuntime:
    """Launches on the host, each noted in *calls* as (kernel, grid, threads)."""

    device = 0
    threads = 32
    enough_blocks = 4

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[int, ...], int]] = []
        self.current_stream, self.is_capturing = 0, False
        #: Sizes of the memory that was taken for good.
        self.workspaces: list[int] = []
        self.clock: Callable[[], float] = time.perf_counter
        self._scratched: list[weakref.ref[Any]] = []

    def takes(self, array: Any) -> bool:
        return type(array) is np.ndarray

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        # Every byte set: what a kernel forgets to write is NaN or -1, and shows.
        array = np.empty(shape, dtype)
        array.reshape(-1).view(np.uint8)[...] = 0xFF
        return array

    def contiguous(self, array: Any) -> Any:
        # Not ascontiguousarray alone: it makes one axis of none.
        return array if array.flags.c_contiguous else np.ascontiguousarray(array)

    def current(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def pointer(self, array: Any) -> int:
        address: int = array.ctypes.data
        return address

    def stream(self) -> int:
        return self.current_stream

    def capturing(self) -> bool:
        return self.is_capturing

    def kept(self, size: int) -> Any:
        self.workspaces.append(size)
        return self.empty((max(size, 1),), "uint8")

    def scratch(self, size: int) -> Any:
        array = self.empty((max(size, 1),), "uint8")
        self._scratched.append(weakref.ref(array))
        return array

    def held(self) -> int:
        """How much of what was asked for for a moment somebody still holds."""
        return sum(one() is not None for one in self._scratched)

    def seconds(self, work: Callable[[], None]) -> float:
        started = self.clock()
        work()
        return self.clock() - started

    def launch(
        self, variant: Variant, kernel: str, grid: Sequence[int], threads: int, arguments: Any
    ) -> None:
        self.calls.append((kernel, tuple(grid), threads))
        sizes = (ctypes.c_uint * 3)(grid[0], grid[1] if len(grid) > 1 else 1, threads)
        require_widths(variant, kernel, arguments)
        kept = [_cell(argument) for argument in arguments]
        cells = (ctypes.c_void_p * len(kept))(*(cell.ctypes.data for cell in kept))
        getattr(_library(variant), f"start_{kernel}")(sizes, cells)


def require_widths(variant: Variant, kernel: str, arguments: Sequence[Any]) -> None:
    """Refuse arguments that are not as many and as wide as the kernel's parameters.

    CUDA copies as many bytes as a parameter has, from wherever it is told to: of a plain number of
    Python's that would be half a double.
    """
    given = [8 if _is_address(a) else getattr(a, "nbytes", 0) for a in arguments]
    wanted = _widths(variant, kernel)
    if given != wanted:
        raise TypeError(f"{kernel} takes parameters of {wanted} bytes, got {given}")


@cache
def _widths(variant: Variant, kernel: str) -> list[int]:
    """Bytes of each of a kernel's parameters, by its source."""
    text = templates.source(variant).replace("\\\n", " ")
    for name, inner in re.findall(r"#define (GEOMETRY) (.*)", text):
        text = text.replace(name, inner)
    (inside,) = re.findall(rf"__global__ void {kernel}\(([^)]*)\)", text)
    number = 8 if variant.dtype == "float64" else 4
    sizes = {"Index": 8, "int": 4, "unsigned": 4, "ACCUM": number, "Table": TABLE.itemsize}
    return [8 if "*" in part else sizes[part.split()[-2]] for part in inside.split(",")]


def _is_address(argument: Any) -> bool:
    """Whether the kernel is given where an array is; of a record it is given the bytes."""
    return isinstance(argument, np.ndarray) and argument.dtype.names is None


def _cell(argument: Any) -> Any:
    """One element that holds the argument as a kernel is given it: an address or a number."""
    if _is_address(argument):
        return np.array([argument.ctypes.data], dtype=np.uint64)
    return np.array([argument], dtype=argument.dtype)


def host_source(variant: Variant) -> str:
    """The CUDA source between the shim and one entrance per kernel."""
    shim = files("agnostic_dl_cupy").joinpath("rehearsal", "shim.hpp").read_text(encoding="utf-8")
    body = "\n".join(
        line for line in templates.source(variant).splitlines() if "#include <cuda" not in line
    )
    entrances = [
        f'extern "C" void start_{kernel}(const unsigned* sizes, void** arguments)'
        f" {{ start({kernel}, sizes, {str(kernel in _MEET).lower()}, arguments); }}"
        for kernel in templates.UNITS[variant.unit]
    ]
    return "\n".join([shim, body, *entrances])


@cache
def _library(variant: Variant) -> Any:
    return shared_library(host_source(variant), "-std=c++20", "-pthread")


def shared_library(text: str, *options: str) -> Any:
    """C++ as a library, compiled where this very text has not been yet."""
    folder = Path(gettempdir()) / f"agnostic-dl-cupy-rehearsal-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    name = folder / sha256("\n".join([*options, text]).encode()).hexdigest()[:24]
    library = name.with_suffix(".so")
    if not library.exists():
        name.with_suffix(".cpp").write_text(text, encoding="utf-8")
        made = name.with_suffix(f".{os.getpid()}.so")
        command = ["g++", "-O1", "-shared", "-fPIC", "-w", *options,
                   str(name.with_suffix(".cpp")), "-o", str(made)]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        made.replace(library)
    return ctypes.CDLL(str(library))
