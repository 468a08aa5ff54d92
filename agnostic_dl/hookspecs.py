"""The contract between agnostic_dl and its plugins: one hook per kind of plugin.

An entry point in the group of the hook's kind names a module; the module implements the hook with
:data:`agnostic_dl.extend.hookimpl`. The hook returns a mapping that holds the entry point's name.
The contract's version is :data:`API_VERSION`; a package says which it is written for in its
metadata, by an entry point of that name in the group ``agnostic_dl.api``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pluggy

from agnostic_dl.discovery import API_VERSION as API_VERSION

PROJECT = "agnostic_dl"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def agnostic_dl_backends() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Return name → factory of a Backend, called as ``factory(device=...)``.

    The factory has a cheap ``probe()`` that returns None, or why the backend is not available.
    """


@hookspec
def agnostic_dl_optimizers() -> Mapping[str, type]:  # type: ignore[empty-body]
    """Return name → optimizer class, a frozen dataclass derived from Optimizer."""


@hookspec
def agnostic_dl_kernels(backend_name: str) -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Return primitive name → accelerated function with the primitive's own signature."""


@hookspec
def agnostic_dl_rewrites(backend_name: str) -> Sequence[Any]:  # type: ignore[empty-body]
    """Return rules that put primitives of a recorded program together, for the kernels' sake.

    Asked of the plugins in the kernels' group; see :func:`agnostic_dl.extend.rule`.
    """
