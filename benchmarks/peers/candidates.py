"""Who takes part, in which rows, and why somebody cannot."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from peers.rows import FIRST, ROWS, WITH_KERNELS, Problem, Row, problem
from peers.steps import Step

_COMPILERS = ("c++", "g++", "clang++", "cl")


@dataclass(frozen=True)
class Peer:
    """Somebody else's step: how it is built, the library that it needs, the rows that it is for."""

    library: str
    options: dict[str, Any]
    fits: Callable[[Row], bool] = lambda row: True


def _has_model(row: Row) -> bool:
    return not row.update_only


def _small_steps(row: Row) -> bool:
    """Rows in which the optimizer's own calls weigh enough to be worth compiling."""
    return row.model in ("mlp", "tiny")


def _pictures(row: Row) -> bool:
    return row.pictures


_LAST = {"channels_last": True}
_COMPILED = {"compiled": "network", "implementation": "fused"}

#: The peers by name. "torch" is PyTorch as it comes: images (N, C, H, W) and its default optimizer.
PEERS: dict[str, Peer] = {
    "torch": Peer("torch", {}),
    "torch fused": Peer("torch", {"implementation": "fused"}),
    "torch foreach": Peer("torch", {"implementation": "foreach"}),
    "torch channels_last": Peer("torch", _LAST, _pictures),
    "torch channels_last fused": Peer("torch", {**_LAST, "implementation": "fused"}, _pictures),
    "torch channels_last foreach": Peer(
        "torch", {**_LAST, "implementation": "foreach"}, _pictures),
    "torch compile": Peer("torch", _COMPILED, _has_model),
    "torch compile channels_last": Peer("torch", {**_LAST, **_COMPILED}, _pictures),
    "torch compile optimizer": Peer("torch", {"compiled": "all"}, _small_steps),
    "jax": Peer("jax", {}),
}  # fmt: skip


def missing(name: str) -> str | None:
    """Why a peer cannot take part here; None: it can."""
    peer = PEERS[name]
    if importlib.util.find_spec(peer.library) is None:
        return f"{peer.library} is not installed"
    if peer.options.get("compiled") and not any(map(shutil.which, _COMPILERS)):
        return f"no C++ compiler ({', '.join(_COMPILERS)}) was found"
    return None


@cache
def kernel_plugins() -> dict[str, str | None]:
    """The kernel plugins for NumPy that are installed, each with the reason if it gives nothing."""
    from agnostic_dl import plugins

    found: dict[str, str | None] = {}
    for full in plugins.names("kernels"):
        backend, _, name = full.partition(".")
        if backend == "numpy":
            found[name] = _idle(full)
    return found


def _idle(full: str) -> str | None:
    from agnostic_dl import plugins

    try:
        kernels = plugins.load_kernels(full, "numpy")[1]
    except plugins.PluginError as error:
        return str(error)
    return None if kernels else "its library was not found"


def ours() -> dict[str, tuple[str, ...]]:
    """Our candidates by name, and the kernel plugins that each has."""
    usable = tuple(name for name, reason in kernel_plugins().items() if reason is None)
    found: dict[str, tuple[str, ...]] = {FIRST: ()}
    if usable:
        found[WITH_KERNELS] = usable
    if len(usable) > 1:  # one alone is what the line above is
        found |= {f"numpy+{name}": (name,) for name in usable}
    return found


def kernels_of(candidate: str) -> tuple[str, ...]:
    """The kernel plugins of one of ours; only where it has all of them are others looked at."""
    if candidate in (FIRST, WITH_KERNELS):
        return () if candidate == FIRST else ours()[candidate]
    return (candidate.removeprefix(f"{FIRST}+"),)


def in_row(names: list[str], row: Row) -> list[str]:
    """Those of *names* that take part in a row."""
    return [name for name in names if name not in PEERS or PEERS[name].fits(row)]


def step_of(candidate: str, row: str | Row, make: Callable[[Row], Problem] = problem) -> Step:
    """A candidate's step in a row, built in this process: `.run()` makes one.

    *make*: where the network and the batch come from.
    """
    row = ROWS[row] if isinstance(row, str) else row
    return _builder(candidate)(row, make=make)


def _builder(candidate: str) -> Callable[..., Step]:
    if candidate not in PEERS:
        from peers import ours as room

        return partial(room.step, kernels=kernels_of(candidate))
    peer = PEERS[candidate]
    if peer.library == "jax":
        from peers import jax_steps

        return partial(jax_steps.step, **peer.options)
    from peers import torch_steps

    return partial(torch_steps.step, **peer.options)
