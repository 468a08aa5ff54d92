"""The backends that `bench` puts side by side, with and without kernel plugins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agnostic_dl import backends, plugins
from agnostic_dl.backends import Backend

ALL = "kernels"
#: Left out unless it is asked for: it checks, and is slow at it.
UNASKED = "strict"


@dataclass(frozen=True)
class Contestant:
    """A backend as it is called in the table, such as numpy+kernels."""

    label: str
    backend: Backend


def choose(labels: Iterable[str] | None) -> tuple[list[Contestant], dict[str, str]]:
    """The backends of these labels (None: all), and why some cannot be used.

    A name that no plugin has is an error.
    """
    found, absent = [], {}
    for label in default_labels() if labels is None else labels:
        opened = _open(label)
        if isinstance(opened, str):
            absent[label] = opened
        else:
            found.append(Contestant(label, opened))
    return found, absent


def default_labels() -> list[str]:
    """Every installed backend, alone and with its kernel plugins."""
    labels = []
    for name in plugins.names("backend"):
        if name != UNASKED:
            labels.append(name)
            labels += [f"{name}+{ALL}"] if _kernel_plugins(name) else []
    return labels


def _kernel_plugins(backend: str) -> list[str]:
    return [name for name in plugins.names("kernels") if name.startswith(f"{backend}.")]


def _open(label: str) -> Backend | str:
    """The backend, or the reason why it cannot be used here."""
    name, *kernels = label.split("+")
    reason = backends.BackendInfo(name, "", "").reason if _installed(name) else None
    if reason is not None:
        return reason
    plain = backends.create(name, kernels=())
    if not kernels:
        return plain
    faster = backends.create(name, kernels=None if kernels == [ALL] else kernels)
    if all(plain.kernels.get(n) is kernel for n, kernel in faster.kernels.items()):
        return _idle(name)
    return faster


def _installed(name: str) -> bool:
    return name in plugins.names("backend")


def _idle(backend: str) -> str:
    """Why kernel plugins make no difference to a backend."""
    names = _kernel_plugins(backend)
    if not names:
        return f"no kernel plugin for {backend} is installed"
    broken = [f"{i.name}: {i.error}" for i in plugins.infos("kernels") if i.error is not None]
    return "; ".join(broken) or f"{', '.join(names)}: no kernel can be used (see plugins doctor)"
