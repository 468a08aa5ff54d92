"""Which plugins' kernels a backend gets: by name, by the environment, by priority."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from agnostic_dl import plugins


class Choice:
    """Several kernels of one primitive, the best first: what one declines, the next is asked."""

    def __init__(self, kernels: tuple[Callable[..., Any], ...]) -> None:
        self.kernels = kernels

    def __call__(self, xp: Any, *arrays: Any, **static: Any) -> Any:
        """By the first that takes it; NotImplemented: none does."""
        for kernel in self.kernels:
            out = kernel(xp, *arrays, **static)
            if out is not NotImplemented:
                return out
        return NotImplemented


def choices(kernel: Callable[..., Any] | None) -> tuple[Callable[..., Any], ...]:
    """The kernels that one of a backend's mapping stands for, the best first."""
    if kernel is None:
        return ()
    return kernel.kernels if isinstance(kernel, Choice) else (kernel,)


def merged(best_first: list[Mapping[str, Callable[..., Any]]]) -> dict[str, Callable[..., Any]]:
    """One mapping of several; where more than one has a primitive, a :class:`Choice`."""
    found: dict[str, tuple[Callable[..., Any], ...]] = {}
    for kernels in best_first:
        for name, kernel in kernels.items():
            found[name] = (*found.get(name, ()), *choices(kernel))
    return {name: some[0] if len(some) == 1 else Choice(some) for name, some in found.items()}


def of_plugins(backend: str, chosen: tuple[str, ...] | None) -> list[plugins.KernelSet]:
    """What the plugins for *backend* bring, the highest priority first."""
    installed = [name for name in plugins.names("kernels") if name.startswith(backend + ".")]
    if chosen is None:
        wanted = os.environ.get("AGNOSTIC_DL_KERNELS")
        chosen = None if wanted is None else tuple(filter(None, map(str.strip, wanted.split(","))))
    if chosen is not None:
        full = [name if "." in name else f"{backend}.{name}" for name in chosen]
        for name in full:
            if name not in installed and name.startswith(backend + "."):
                plugins.load_kernels(name, backend)  # raises: names what is installed
        return _ordered([plugins.load_kernels(n, backend) for n in full if n in installed])
    loaded = []
    for name in installed:
        try:
            loaded.append(plugins.load_kernels(name, backend))
        except plugins.PluginError:
            continue  # recorded; `list_plugins` shows it; the backend's own kernels stand in
    return _ordered(loaded)


def _ordered(loaded: list[plugins.KernelSet]) -> list[plugins.KernelSet]:
    """The highest priority first."""
    return sorted(loaded, key=lambda one: -one.priority)
