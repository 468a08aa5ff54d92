"""Which plugins' kernels a backend gets: by name, by the environment, by priority."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from agnostic_dl import plugins


def of_plugins(backend: str, chosen: tuple[str, ...] | None) -> dict[str, Any]:
    """Kernels of the plugins for *backend*; of two for one primitive the higher priority wins."""
    installed = [name for name in plugins.names("kernels") if name.startswith(backend + ".")]
    if chosen is None:
        wanted = os.environ.get("AGNOSTIC_DL_KERNELS")
        chosen = None if wanted is None else tuple(filter(None, wanted.split(",")))
    if chosen is not None:
        full = [name if "." in name else f"{backend}.{name}" for name in chosen]
        for name in full:
            if name not in installed and name.startswith(backend + "."):
                plugins.load_kernels(name, backend)  # raises: names what is installed
        return _merge([plugins.load_kernels(n, backend) for n in full if n in installed])
    loaded = []
    for name in installed:
        try:
            loaded.append(plugins.load_kernels(name, backend))
        except plugins.PluginError:
            continue  # recorded; `list_plugins` shows it; the backend's own kernels stand in
    return _merge(loaded)


def _merge(loaded: list[tuple[int, Mapping[str, Any]]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for _, kernels in sorted(loaded, key=lambda pair: pair[0]):
        merged.update(kernels)
    return merged
