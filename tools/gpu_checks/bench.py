"""What the phases are run on: the backend or its rehearsal, comparisons, graphs, a clock."""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

import agnostic_dl as adl
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl_cupy import tf32

#: How far a kernel's numbers may be from the reference's in float64, relative to the largest: what
#: is computed in float32; two roundings to the short types; products of factors of 10 bits.
LIMITS = {"float32": 1e-5, "float16": 2.0**-10, "bfloat16": 2.0**-7, "tf32": 4e-3}


class Bench:
    """The backend under test, or its rehearsal, and the sizes that go with it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.dry, self.mnist = options.dry, options.mnist
        self.backend: Any = self.rehearsal() if self.dry else adl.get_backend("cupy")
        self.host = adl.get_backend("numpy")
        self.xp = self.backend.xp

    def rehearsal(self) -> Any:
        from agnostic_dl_cupy.rehearsal.backend import RehearsalBackend

        return RehearsalBackend()

    def pick(self, real: Any, rehearsed: Any) -> Any:
        return rehearsed if self.dry else real

    def note(self, found: Any) -> None:
        """Keep what was found so far, should the phase end before its end."""
        print(json.dumps({"so far": found}), flush=True)

    def available(self, *dtypes: str) -> list[str]:
        """Those that the backend has here; bfloat16 needs ml_dtypes."""
        return [dtype for dtype in dtypes if _stored(dtype) in self.backend.dtypes]

    # -- arrays and comparisons --------------------------------------------------------------------

    def normal(self, *shape: int, dtype: str = "float32") -> Any:
        """Normals on the host in float32, such as the dtype can hold."""
        draw = np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
        return draw.astype(self.backend.dtypes[_stored(dtype)]).astype(np.float32)

    def images(self, count: int, *shape: int, dtype: str = "float32") -> Any:
        """So many images of normals, of which 16 are drawn: large draws take a host seconds."""
        drawn = self.normal(min(count, 16), *shape, dtype=dtype)
        return np.resize(drawn, (count, *shape))

    def place(self, array: Any, dtype: str = "float32") -> Any:
        """A host array on the device; real numbers in the dtype."""
        if array.dtype.kind == "f":
            array = array.astype(self.backend.dtypes[_stored(dtype)])
        return self.backend.asarray(array)

    def gap(self, name: str, *arrays: Any, dtype: str = "float32", **static: Any) -> float:
        """The kernel's largest error relative to the float64 reference's largest number."""
        placed = [self.place(a, dtype) for a in arrays]
        with tf32() if dtype == "tf32" else nullcontext():
            got = self.backend.kernels[name](self.xp, *placed, **static)
        if got is NotImplemented:
            raise AssertionError(f"{name} declined {dtype} {[a.shape for a in arrays]}")
        wide = [
            self.backend.to_numpy(p).astype(np.float64) if a.dtype.kind == "f" else a
            for a, p in zip(arrays, placed, strict=True)
        ]
        return self.difference(got, PRIMITIVES[name].forward(self.host.xp, *wide, **static))

    def difference(self, got: Any, wanted: Any) -> float:
        """The largest difference relative to the largest number wanted, over all results."""
        pairs = zip(got, wanted, strict=True) if isinstance(got, tuple) else [(got, wanted)]
        return largest(
            float(abs(self.backend.to_numpy(one).astype(np.float64) - other).max())
            / max(float(abs(other).max()), 1e-30)
            for one, other in pairs
            if other.dtype != bool  # signs of what is near zero may differ
        )

    # -- graphs ------------------------------------------------------------------------------------

    def captured(self, function: Callable[[], Any]) -> tuple[Callable[[], Any], Any]:
        """(what replays the work that the function queues, the array that it then lies in)."""
        if self.dry:
            out = function()
            return lambda: np.copyto(out, function()), out
        import cupy

        stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
        with stream, cupy.cuda.using_allocator(pool.malloc):
            for _ in range(2):
                function()
            stream.begin_capture()
            try:
                out = function()
            finally:
                graph = stream.end_capture()

        def replay(pool: Any = pool) -> None:
            self.backend.synchronize()
            graph.launch(stream)
            stream.synchronize()

        return replay, out

    # -- memory ------------------------------------------------------------------------------------

    def device_bytes(self) -> int:
        """Memory of the device that is in use, without what CuPy's pool only keeps."""
        gc.collect()
        if self.dry:
            return 0
        import cupy

        self.backend.synchronize()
        cupy.get_default_memory_pool().free_all_blocks()
        free, total = cupy.cuda.runtime.memGetInfo()
        return int(total - free)

    # -- time --------------------------------------------------------------------------------------

    def medians(self, *runs: Callable[[], Any], rounds: int = 7, inner: int = 1) -> list[float]:
        """Seconds of each, taken in turns; *inner* runs in a row between two synchronisations."""
        rounds, inner = self.pick((rounds, inner), (1, 1))
        times: list[list[float]] = [[] for _ in runs]
        for run in runs:
            run()
        for _ in range(rounds):
            for run, column in zip(runs, times, strict=True):
                self.backend.synchronize()
                started = time.perf_counter()
                for _ in range(inner):
                    run()
                self.backend.synchronize()
                column.append((time.perf_counter() - started) / inner)
        return [statistics.median(column) for column in times]

    def host_seconds(self, run: Callable[[], Any], count: int = 200) -> float:
        """The median time that a call keeps the host, without waiting for the device."""
        times = []
        for k in range(self.pick(count, 2)):
            if k % 20 == 0:
                self.backend.synchronize()  # or the queue fills, and the host waits after all
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
        self.backend.synchronize()
        return statistics.median(times)


def _stored(dtype: str) -> str:
    return "float32" if dtype == "tf32" else dtype


def within(gaps: dict[str, float], dtype: str) -> dict[str, float]:
    """The gaps, if all are allowed."""
    off = {name: gap for name, gap in gaps.items() if not gap <= LIMITS[dtype]}
    if off:
        raise AssertionError(f"{dtype}: off by more than {LIMITS[dtype]:.1e}: {off}")
    return gaps


def largest(numbers: Iterable[float]) -> float:
    """The largest; NaN if one of them is, which max() would pass over."""
    return float(np.max(list(numbers)))


def agree(found: Any, wanted: Any, *, rtol: float = 0, atol: float = 0, name: str = "") -> None:
    """Refuse numbers that are further apart than this; NaN agrees with nothing."""
    np.testing.assert_allclose(found, wanted, rtol, atol, equal_nan=False, err_msg=name)


def aims(found: Mapping[str, float], **least: float) -> dict[str, Any]:
    """What those of these figures that there are shall reach at least, and which do not."""
    wanted = {name.replace("_", " "): value for name, value in least.items()}
    wanted = {name: value for name, value in wanted.items() if name in found}
    return {"aims": wanted, "missed": [n for n in wanted if not found[n] >= wanted[n]]}
