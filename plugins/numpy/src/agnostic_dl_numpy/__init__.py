"""The NumPy backend: arrays on the CPU, with kernels of its own where plain NumPy can be faster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

from agnostic_dl.extend import Backend, fusion, hookimpl, merged


class NumpyBackend(Backend):
    """Arrays of NumPy, on the CPU."""

    name = "numpy"

    @cached_property
    def xp(self) -> Any:
        import array_api_compat.numpy as xp

        return xp

    @cached_property
    def array_type(self) -> type:
        import numpy as np

        return np.ndarray

    def own_kernels(self) -> Mapping[str, Callable[..., Any]]:
        from agnostic_dl_numpy import halves
        from agnostic_dl_numpy.kernels import KERNELS

        return merged([KERNELS, halves.KERNELS])

    def own_rewrites(self) -> Iterable[Any]:
        return (*fusion.CONVOLUTION, *fusion.NORMALIZATION)

    def overflowing(self) -> AbstractContextManager[Any]:
        import numpy as np

        return np.errstate(over="ignore", invalid="ignore")

    def compile(self, program: Any, like: Any = None) -> Any:
        from agnostic_dl_numpy.plan import compile_program

        return compile_program(program, self, like)

    @cached_property
    def dtypes(self) -> Mapping[str, Any]:
        from agnostic_dl_numpy import halves

        return {**super().dtypes, **halves.dtypes()}

    def asarray(self, obj: Any, dtype: Any = None) -> Any:
        import numpy as np

        return np.asarray(obj, dtype=self.as_dtype(dtype))

    def to_numpy(self, array: Any) -> Any:
        import numpy as np

        return np.asarray(array)

    def pin_threads(self) -> None:
        from agnostic_dl_numpy import threads

        if not threads.pin():
            super().pin_threads()


@hookimpl
def agnostic_dl_backends() -> Mapping[str, Callable[..., Backend]]:
    return {"numpy": NumpyBackend}
