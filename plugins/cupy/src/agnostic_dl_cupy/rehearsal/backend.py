"""The whole backend on the host: NumPy's arrays, the plugin's kernels, stand-ins for libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy as np

from agnostic_dl.extend import Backend
from agnostic_dl_cupy.backend import with_halves
from agnostic_dl_cupy.blas import Blas
from agnostic_dl_cupy.cudnn_graphs import Graphs
from agnostic_dl_cupy.kernels import bind
from agnostic_dl_cupy.rehearsal.cublas import FakeCublas
from agnostic_dl_cupy.rehearsal.cudnn import FakeCudnn
from agnostic_dl_cupy.rehearsal.host import HostRuntime


class RehearsalBackend(Backend):
    """Made by hand and given to use_backend; no plugin offers it by name."""

    name = "cupy-rehearsal"

    @cached_property
    def xp(self) -> Any:
        import array_api_compat.numpy as xp

        return xp

    @cached_property
    def dtypes(self) -> Mapping[str, Any]:
        return with_halves(super().dtypes)

    def own_rewrites(self) -> Iterable[Any]:
        from agnostic_dl_cupy.kernels import REWRITES

        return REWRITES

    def own_kernels(self) -> Mapping[str, Callable[..., Any]]:
        self.runtime, self.cublas, self.cudnn = HostRuntime(), FakeCublas(), FakeCudnn()
        self.graphs = Graphs(self.runtime, self.cudnn)
        return bind(self.runtime, Blas(self.runtime, self.cublas), self.graphs)

    def pin_threads(self) -> None:
        self.graphs.repeatable = True

    def to_numpy(self, array: Any) -> Any:
        # Nothing else: what NumPy would make an array of, CuPy would not.
        if not isinstance(array, (np.ndarray, np.generic)):
            raise TypeError(f"expected an array of the device, got {type(array).__name__}")
        return np.asarray(array)

    def overflowing(self) -> AbstractContextManager[Any]:
        return np.errstate(over="ignore", invalid="ignore")  # as a device: without a word

    def compile(self, program: Any, like: Any = None) -> Any:
        """The program by the plugin's plans, on the device that is none."""
        from agnostic_dl_cupy.graph import GraphPlan
        from agnostic_dl_cupy.rehearsal.device import FakeDevice

        device = FakeDevice(self.xp, rewrites=self.rewrites, generated=True, kernels=self.kernels)
        return GraphPlan(program, None if like else device, like)
