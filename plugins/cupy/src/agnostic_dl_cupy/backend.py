"""The backend: devices, the way to and from the host, and where its kernels come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from agnostic_dl.extend import Backend, UsageError
from agnostic_dl_cupy import probe

#: Copies to the host of at least so many bytes are made in page-locked memory.
_PINNED_FROM = 1 << 16


class CupyBackend(Backend):
    """Arrays of CuPy on one device.

    *device*: its number, also as "cupy:1"; None: CuPy's current device at the time of making.
    """

    name = "cupy"

    def __init__(self, device: Any = None) -> None:
        #: Streams of plans that are gone, for others: libraries keep memory for each stream.
        self.streams: list[Any] = []
        self._graphs: Any = None
        opened = _open(_device_number(device))
        #: The device's number, counted from 0.
        self.number = int(opened.id)
        super().__init__(opened)

    @classmethod
    def probe(cls) -> str | None:
        return probe.reason()

    @cached_property
    def xp(self) -> Any:
        import array_api_compat.cupy as xp

        return xp

    @cached_property
    def array_type(self) -> type:
        import cupy

        return cupy.ndarray

    @cached_property
    def dtypes(self) -> Mapping[str, Any]:
        return with_halves(super().dtypes)

    def own_rewrites(self) -> Iterable[Any]:
        from agnostic_dl_cupy.kernels import REWRITES

        return REWRITES

    def own_kernels(self) -> Mapping[str, Callable[..., Any]]:
        from agnostic_dl_cupy.cudnn_graphs import Graphs, frontend
        from agnostic_dl_cupy.kernels import bind
        from agnostic_dl_cupy.runtime import CupyRuntime

        runtime, cudnn = CupyRuntime(self.number), frontend()
        self._graphs = None if cudnn is None else Graphs(runtime, cudnn)
        return bind(runtime, graphs=self._graphs)

    def asarray(self, obj: Any, dtype: Any = None) -> Any:
        import cupy

        dtype = self.as_dtype(dtype)
        with self.device:
            if isinstance(obj, cupy.ndarray) or _on_a_device(obj):
                return _typed(_moved(cupy, obj, self.number), dtype)
            host = _host_array(obj, dtype)
            # CuPy copies by way of page-locked memory, which it keeps until the stream has read it.
            # What is page-locked already it reads where it lies, later: what `to_numpy` has made
            # may be written to as soon as this returns, so that it is waited for.
            locked = cupy.cuda.pinned_memory.is_memory_pinned(host.ctypes.data)
            # CuPy makes 0-d arrays by fill(), in which zero has no sign: they go as vectors.
            array = cupy.asarray(host if host.ndim else host.reshape(1), blocking=locked)
            return array if host.ndim else array.reshape(())

    def to_numpy(self, array: Any) -> Any:
        import cupy

        with array.device:
            if array.nbytes < _PINNED_FROM:
                return cupy.asnumpy(array)
            return array.get(out=_pinned(cupy, array.shape, array.dtype), blocking=True)

    def synchronize(self) -> None:
        self.device.synchronize()

    def activate(self) -> None:
        # CuPy computes with arrays of its current device alone.
        self.device.use()

    def pin_threads(self) -> None:
        """Give the same bits in each run: the host's threads do not matter, cuDNN's plans may."""
        if self._graphs is not None:
            self._graphs.repeatable = True

    def compile(self, program: Any, like: Any = None) -> Any:
        """The program as one CUDA graph: after two eager runs it is captured and replayed."""
        from agnostic_dl_cupy.graph import CudaDevice, GraphPlan

        return GraphPlan(program, None if like is not None else CudaDevice(self), like)


def with_halves(dtypes: Mapping[str, Any]) -> dict[str, Any]:
    """These dtypes, float16 and, where ml_dtypes is installed, bfloat16."""
    import numpy as np

    known = {**dtypes, "float16": np.dtype("float16")}
    try:
        import ml_dtypes
    except ImportError:
        return known
    return {**known, "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def _open(number: int | None) -> Any:
    import cupy

    count = cupy.cuda.runtime.getDeviceCount()
    if number is not None and not 0 <= number < count:
        raise UsageError(f"the devices of cupy are 0 to {count - 1}, got {number}")
    return cupy.cuda.Device(number)


def _device_number(device: Any) -> int | None:
    """The number that *device* (None, an integer, a CuPy device) stands for."""
    if device is None:
        return None
    number = getattr(device, "id", device)
    if isinstance(number, bool) or not isinstance(number, int):
        raise UsageError(f"the device of cupy expects a number or 'cupy:<number>', got {device!r}")
    return number


def _on_a_device(obj: Any) -> bool:
    """Whether it can be taken without the host: CUDA memory behind DLPack or CUDA's interface."""
    if hasattr(obj, "__dlpack_device__"):
        return int(obj.__dlpack_device__()[0]) in (2, 13)  # kDLCUDA, kDLCUDAManaged
    return hasattr(obj, "__cuda_array_interface__")  # a property that may raise what it likes


def _moved(cupy: Any, obj: Any, number: int | None) -> Any:
    """A CuPy array on this device: a view where *obj* lies there already."""
    if not isinstance(obj, cupy.ndarray):
        obj = cupy.from_dlpack(obj) if hasattr(obj, "__dlpack__") else cupy.asarray(obj)
    return obj if obj.device.id == number else cupy.array(obj)


def _typed(array: Any, dtype: Any) -> Any:
    return array if dtype is None else array.astype(dtype, copy=False)


def _host_array(obj: Any, dtype: Any) -> Any:
    import numpy as np

    if hasattr(obj, "__dlpack__") and not isinstance(obj, np.ndarray | np.generic):
        obj = np.from_dlpack(obj)
    return np.asarray(obj, dtype=dtype)


def _pinned(cupy: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An empty host array in page-locked memory, from CuPy's pool of it."""
    import math

    import numpy as np

    count = math.prod(shape)
    memory = cupy.cuda.alloc_pinned_memory(count * np.dtype(dtype).itemsize)
    return np.frombuffer(memory, dtype, count).reshape(shape)
