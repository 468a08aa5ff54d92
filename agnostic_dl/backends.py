"""Which backends there are, which one is current, and whose an array is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from agnostic_dl import kernels, plugins
from agnostic_dl.backend import Backend
from agnostic_dl.contract import one_line
from agnostic_dl.errors import AgnosticDLError, BackendUnavailable, UsageError


@dataclass(frozen=True)
class BackendInfo:
    """One installed backend. Listing imports nothing; asking for `available` probes the plugin."""

    name: str
    distribution: str
    version: str

    @property
    def reason(self) -> str | None:
        """Why the backend is not available, in one line; None if it is."""
        try:
            return _probe(plugins.lookup("backend", self.name))
        except plugins.PluginError as error:
            return str(error)

    @property
    def available(self) -> bool:
        """Whether the backend can run here."""
        return self.reason is None

    def __repr__(self) -> str:
        return (
            f"BackendInfo(name={self.name!r}, available={self.available}, reason={self.reason!r}, "
            f"distribution={self.distribution!r}, version={self.version!r})"
        )


def list_backends() -> list[BackendInfo]:
    """List the installed backends from metadata alone; see :class:`BackendInfo`."""
    return [
        BackendInfo(info.name, info.distribution, info.version)
        for info in plugins.infos("backend")
        if info.state != "blocked"
    ]


_current: ContextVar[Backend | None] = ContextVar("agnostic_dl_backend", default=None)
_instances: dict[tuple[Any, ...], Backend] = {}
_by_array_type: dict[type, Backend] = {}


def get_backend(name: str | None = None) -> Backend:
    """The backend called *name*, on its default device; None: the current one.

    The current backend is at first ``$AGNOSTIC_DL_BACKEND``, else "numpy".
    """
    current = _current.get()
    if name is None:
        return current or _find_default()
    return current if current is not None and current.name == name else create(name)


#: The backend where none was chosen, as the environment last named it to get_backend, and the
#: generation of plugins that it was found among.
_default: tuple[Backend | None, int] = (None, -1)


def _find_default() -> Backend:
    global _default
    backend = create(os.environ.get("AGNOSTIC_DL_BACKEND") or "numpy")
    _default = backend, plugins.generation
    return backend


def create(name: str, device: Any = None, kernels: Iterable[str] | None = None) -> Backend:
    """The backend *name* on *device* with the chosen kernel plugins, made once and shared."""
    name, device = _split_device(name, device)
    if isinstance(kernels, str):
        kernels = (kernels,)
    chosen = None if kernels is None else tuple(kernels)
    wanted = os.environ.get("AGNOSTIC_DL_KERNELS")
    cache_key = (name, device, chosen, wanted, plugins.generation)
    if cache_key not in _instances:
        _instances[cache_key] = _make(name, device, chosen)
    return _instances[cache_key]


def _split_device(name: str, device: Any) -> tuple[str, Any]:
    """``"cupy:1"`` names a backend and the number of its device, also as *device* itself."""
    if isinstance(device, str) and device.partition(":")[0] == name and ":" in device:
        device = device.partition(":")[2]
    if ":" in name:
        name, _, device = name.partition(":")
    return name, int(device) if isinstance(device, str) and device.isdigit() else device


def _make(name: str, device: Any, chosen: tuple[str, ...] | None) -> Backend:
    factory = plugins.lookup("backend", name)
    reason = _probe(factory)
    if reason is not None:
        raise BackendUnavailable(f"{name}: {reason}. Installed and available: {_others(name)}.")
    backend = _instantiate(factory, name, device)
    found = kernels.of_plugins(name, chosen)
    backend.kernels = kernels.merged([*(one.kernels for one in found), backend.kernels])
    backend.rewrites = (*(r for one in found for r in one.rewrites), *backend.rewrites)
    _by_array_type.setdefault(backend.array_type, backend)
    return backend


def _probe(factory: Any) -> str | None:
    """Why the backend cannot run here; a probe that raises is a reason as well."""
    try:
        reason: str | None = factory.probe()
    except Exception as error:
        return f"its probe failed: {one_line(error)}"
    return reason


def _others(name: str) -> str:
    return ", ".join(i.name for i in list_backends() if i.name != name and i.available) or "none"


def _instantiate(factory: Any, name: str, device: Any) -> Backend:
    """The backend on a device; one that is absent is told here and not at its first use."""
    try:
        backend: Backend = factory(device=device)
        if isinstance(device, str):  # a number counts the backend's own devices: it knows them
            backend.xp.empty((), device=backend.device)
    except AgnosticDLError:
        raise
    except Exception as error:
        where = "" if device is None else f" on the device {device!r}"
        raise BackendUnavailable(f"{name}{where}: {one_line(error)}") from error
    return backend


class use_backend:
    """Make a backend the current one in this context; as a context manager, until its end.

    *device*: ``"cupy:1"`` or ``1``; *kernels*: names of kernel plugins, ``()`` for the backend's
    own kernels only, None for all that are installed.
    """

    def __init__(
        self, name: str | Backend, device: Any = None, kernels: Iterable[str] | None = None
    ) -> None:
        if not isinstance(name, (str, Backend)):
            raise UsageError(f"use_backend expects a backend's name, got {type(name).__name__}")
        self.backend = name if isinstance(name, Backend) else create(name, device, kernels)
        self._token: Token[Backend | None] = _current.set(self.backend)
        self.backend.activate()

    def __enter__(self) -> Backend:
        return self.backend

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _current.reset(self._token)
        before = _current.get()
        if before is not None:
            before.activate()


def kernels_for(array_type: type) -> Mapping[str, Callable[..., Any]]:
    """The kernels for arrays of this class: the current backend's, if they are its arrays."""
    current = _current.get()
    if current is None:
        current, generation = _default
        if generation != plugins.generation:
            current = _initial()
    if current is not None and current.array_type is array_type:
        return current.kernels
    owner = _by_array_type.get(array_type)
    return owner.kernels if owner is not None else {}


def backend_of(array: Any) -> Backend:
    """The backend that this array belongs to: the current one if it can be, else a loaded one."""
    for backend in (_current.get() or _initial(), *_by_array_type.values()):
        if backend is not None and isinstance(array, backend.array_type):
            return backend
    raise UsageError(
        f"no loaded backend has arrays of class {type(array).__name__}: name one with use_backend"
    )


def to_numpy(array: Any) -> Any:
    """*array* as a host NumPy array, by its own backend or else by way of the current one."""
    try:
        return backend_of(array).to_numpy(array)
    except UsageError:  # of a library whose backend nobody has loaded
        current = get_backend()
        return current.to_numpy(current.asarray(array))


def _initial() -> Backend | None:
    try:
        return get_backend()
    except plugins.PluginError:
        return None  # arrays can be computed with even where no backend plugin is installed
