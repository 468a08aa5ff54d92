"""The CuPy backend: arrays on an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agnostic_dl.extend import Backend, hookimpl
from agnostic_dl_cupy.backend import CupyBackend
from agnostic_dl_cupy.precision import allows_tf32, tf32
from agnostic_dl_cupy.tuning import autotune, autotunes

__all__ = [
    "CupyBackend",
    "agnostic_dl_backends",
    "allows_tf32",
    "autotune",
    "autotunes",
    "tf32",
]


@hookimpl
def agnostic_dl_backends() -> Mapping[str, Callable[..., Backend]]:
    return {"cupy": CupyBackend}
