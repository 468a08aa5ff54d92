"""array-api-strict as a backend: whatever runs on it keeps to the standard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from agnostic_dl.extend import Backend, hookimpl


class StrictBackend(Backend):
    """Arrays of array-api-strict, which refuse all that the standard does not promise.

    *device*: None for the CPU; 1 or 2 for a pretended device, whose arrays do not mix with the
    CPU's: shows code that forgets where its arrays are.
    """

    name = "strict"

    def __init__(self, device: Any = None) -> None:
        name = f"device{device}" if isinstance(device, int) else device
        super().__init__(self.xp.Device(name) if isinstance(name, str) else name)

    @cached_property
    def xp(self) -> Any:
        import array_api_strict as xp

        return xp

    def asarray(self, obj: Any, dtype: Any = None) -> Any:
        dtype = self.as_dtype(dtype)
        if not isinstance(obj, self.array_type) and hasattr(obj, "__array_namespace__"):
            import numpy as np

            obj = np.asarray(obj)  # strict arrays are made of NumPy's; other DLPack is read by it
        return self.xp.asarray(obj, dtype=dtype, device=self.device)

    def to_numpy(self, array: Any) -> Any:
        import numpy as np

        return np.asarray(array.to_device(self.xp.Device("CPU_DEVICE")))


@hookimpl
def agnostic_dl_backends() -> Mapping[str, Callable[..., Backend]]:
    return {"strict": StrictBackend}
