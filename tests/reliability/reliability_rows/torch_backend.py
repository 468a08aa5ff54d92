"""PyTorch as a backend, for comparisons only: the reference forwards on its tensors."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from agnostic_dl.extend import Backend


class TorchBackend(Backend):
    """PyTorch's tensors on the CPU, without kernels."""

    name = "torch"

    @cached_property
    def xp(self) -> Any:
        import array_api_compat.torch as xp

        return xp

    def asarray(self, obj: Any, dtype: Any = None) -> Any:
        import torch

        dtype = self.as_dtype(dtype)
        return torch.asarray(obj, dtype=dtype)

    def to_numpy(self, array: Any) -> Any:
        return array.detach().numpy()


def available() -> bool:
    """Whether PyTorch is installed."""
    from importlib.util import find_spec

    return find_spec("torch") is not None
