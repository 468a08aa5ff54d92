"""The backends that `bench` puts side by side, with and without kernel plugins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agnostic_dl import backends, plugins
from agnostic_dl.backend import Backend
from agnostic_dl.errors import BackendUnavailable
from agnostic_dl.kernels import choices

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
    library = name.partition(":")[0]
    if library in plugins.names("backend"):
        reason = backends.BackendInfo(library, "", "").reason
        if reason is not None:
            return reason
    try:
        plain = backends.create(name, kernels=())
        faster = backends.create(name, kernels=None if kernels == [ALL] else kernels)
    except BackendUnavailable as error:  # the device is absent
        return str(error)
    return _idle(library) if kernels and _same(plain, faster) else faster


def _same(plain: Backend, faster: Backend) -> bool:
    """Whether kernel plugins have added nothing."""
    kernels = all(choices(plain.kernels.get(n)) == choices(k) for n, k in faster.kernels.items())
    return kernels and len(faster.rewrites) == len(plain.rewrites)


def _idle(backend: str) -> str:
    """Why kernel plugins make no difference to a backend."""
    names = _kernel_plugins(backend)
    if not names:
        return f"no kernel plugin for {backend} is installed"
    broken = [
        f"{info.name}: {info.error}" for info in plugins.infos("kernels")
        if info.name in names and info.error is not None
    ]  # fmt: skip
    return "; ".join(broken) or f"{', '.join(names)}: no kernel can be used (see plugins doctor)"
