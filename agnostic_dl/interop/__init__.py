"""Bridges: the optimizers of this library's plugins inside PyTorch and optax.

Nothing of either is imported before a bridge is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["optax", "torch"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from agnostic_dl.interop import optax, torch
