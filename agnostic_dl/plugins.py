"""Discovery of plugins: listed from package metadata, imported on first use, one guard each.

A plugin that fails to import or breaks its contract is recorded with its distribution, version and
cause, and never takes another one down.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from agnostic_dl.contract import HOOKS, clip, contribution_of, one_line, rules_of
from agnostic_dl.discovery import API_VERSION, GROUPS, Entry, canonical, entries
from agnostic_dl.errors import PluginError, UnknownNameError

if TYPE_CHECKING:
    from types import ModuleType

LINE = 120
_SLOW = 10.0

__all__ = [
    "API_VERSION", "GROUPS", "HOOKS", "KernelSet", "PluginError", "PluginInfo", "infos",
    "list_optimizers", "list_plugins", "load_kernels", "lookup", "name_of", "names", "refresh",
]  # fmt: skip


@dataclass(frozen=True)
class PluginInfo:
    """One installed plugin: *state* is found, loaded, failed, blocked or incompatible.

    *error* says why in one line; *import_seconds* how long this process took to import it, if it
    did.
    """

    name: str
    kind: str
    distribution: str
    version: str
    state: str
    error: str | None = None
    import_seconds: float | None = field(default=None, compare=False)


class KernelSet(NamedTuple):
    """What a kernel plugin brings: functions by primitive, and rules that put primitives together.

    Of two kernels of one primitive that of the higher *priority* is asked first.
    """

    priority: int
    kernels: Mapping[str, Any]
    rewrites: tuple[Any, ...]


class _Plugin:
    """An entry point and what has become of it."""

    def __init__(self, entry: Entry, blocked: frozenset[str]) -> None:
        self.entry, self.kind, self.name = entry, entry.kind, entry.name
        self.owner = f"{entry.distribution} {entry.version}"
        self.state, self.error, self.details = "found", None, None  # type: tuple[str, Any, Any]
        self.contribution: Mapping[str, Any] = {}
        self.rewrites: tuple[Any, ...] = ()
        self.module: ModuleType | None = None
        self.import_seconds: float | None = None
        self._lock = threading.RLock()
        if {canonical(self.name), canonical(entry.distribution)} & blocked:
            self.state, self.error = "blocked", "blocked by $AGNOSTIC_DL_BLOCK"
        elif entry.malformed:
            self.state, self.error = "failed", entry.malformed
        elif entry.incompatible:
            self.state, self.error = "incompatible", entry.incompatible

    @property
    def usable(self) -> bool:
        """Whether nothing that the metadata say speaks against it."""
        return self.state in ("found", "loaded")

    def diagnosis(self, limit: int | None = LINE) -> str:
        """Kind, name, distribution, version and cause, in one line of at most *limit*."""
        line = f"{self.kind} {self.name!r} ({self.owner}): {self.error}"
        return line if limit is None else clip(line, limit)

    def info(self) -> PluginInfo:
        room = LINE - len(self.diagnosis(None)) + len(self.error or "")
        return PluginInfo(
            self.name, self.kind, self.entry.distribution, self.entry.version, self.state,
            clip(self.error, max(room, 40)) if self.error else None, self.import_seconds,
        )  # fmt: skip

    def load(self, **hook_arguments: Any) -> Mapping[str, Any]:
        """Import the module and ask its hook, once; a failure is kept and told again."""
        with self._lock:
            if self.state == "found":
                try:
                    self.contribution = self._ask(hook_arguments)
                    self.state = "loaded"
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # a plugin may even call sys.exit() at import
                    self.state, self.error = "failed", one_line(error)
                    import traceback

                    self.details = traceback.format_exc()
                    raise PluginError(self.diagnosis(None)) from error
        if self.state != "loaded":
            raise PluginError(self.diagnosis(None))
        return self.contribution

    def _ask(self, hook_arguments: dict[str, Any]) -> Mapping[str, Any]:
        import pluggy

        from agnostic_dl import hookspecs

        self.module = self._import()
        # One manager per module: a raising or misspelt hook is then that module's alone.
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(self.module, self.name)
        manager.check_pending()
        if self.kind == "kernels":
            self.rewrites = rules_of(manager.hook.agnostic_dl_rewrites(**hook_arguments))
        results = getattr(manager.hook, HOOKS[self.kind])(**hook_arguments)
        return contribution_of(self.kind, self.name, self.module, results)

    def _import(self) -> ModuleType:
        from importlib.metadata import EntryPoint

        entry = self.entry
        note = threading.Timer(_SLOW, self._say_slow)
        note.daemon = True
        note.start()
        started = time.perf_counter()
        try:
            module: Any = EntryPoint(entry.name, entry.value, GROUPS[self.kind]).load()
        finally:
            note.cancel()
            self.import_seconds = time.perf_counter() - started
        return module

    def _say_slow(self) -> None:
        print(
            f"still importing the {self.kind} {self.name!r} ({self.owner}) after {_SLOW:.0f} s; "
            f"AGNOSTIC_DL_BLOCK={self.name} leaves it out",
            file=sys.stderr,
        )


# -- what is installed -----------------------------------------------------------------------------


def _blocked_names() -> frozenset[str]:
    names = os.environ.get("AGNOSTIC_DL_BLOCK", "")
    return frozenset(canonical(name) for name in names.split(",") if name.strip())


@lru_cache(maxsize=8)
def _scan(path: tuple[str, ...], blocked: frozenset[str]) -> tuple[_Plugin, ...]:
    order = list(GROUPS)
    listed = sorted(entries(), key=lambda entry: order.index(entry.kind))
    found = tuple(_Plugin(entry, blocked) for entry in listed)
    owners: dict[tuple[str, str], list[_Plugin]] = {}
    for plugin in found:
        if plugin.usable:
            owners.setdefault((plugin.kind, plugin.name), []).append(plugin)
    for rivals in owners.values():
        for plugin in rivals if len(rivals) > 1 else ():
            others = ", ".join(rival.owner for rival in rivals if rival is not plugin)
            plugin.state, plugin.error = "failed", f"its name is also registered by {others}"
    return found


def installed(kind: str | None = None) -> list[_Plugin]:
    """All entry points on the path, without importing any; scanned again when the path changes."""
    plugins = _scan(tuple(sys.path), _blocked_names())
    return [plugin for plugin in plugins if kind in (None, plugin.kind)]


#: How often `refresh` has been called: what was made of plugins before is out of date after.
generation = 0


def refresh() -> None:
    """Forget what was discovered, so that a package installed meanwhile is seen."""
    global generation
    generation += 1
    _scan.cache_clear()


def list_plugins() -> list[PluginInfo]:
    """List every installed plugin from package metadata alone; imports none of them."""
    return [plugin.info() for plugin in installed()]


def names(kind: str) -> list[str]:
    """Names of the plugins of one kind that metadata do not rule out, sorted; imports none."""
    ruled_out = ("blocked", "incompatible")
    return sorted({plugin.name for plugin in installed(kind) if plugin.state not in ruled_out})


def list_optimizers() -> list[str]:
    """Names of the installed optimizers, from metadata alone; imports none of them."""
    return names("optimizer")


def infos(kind: str) -> list[PluginInfo]:
    """The PluginInfo of each plugin of one kind, sorted by name; imports none of them."""
    return sorted((plugin.info() for plugin in installed(kind)), key=lambda info: info.name)


def lookup(kind: str, name: str) -> Any:
    """Load the one plugin called *name* and return what its hook registered under that name.

    Raises UnknownNameError (naming near matches and what is installed) or PluginError (naming the
    distribution, its version and the cause).
    """
    return _only(kind, name).load()[name]


def load_kernels(name: str, backend_name: str) -> KernelSet:
    """What the kernel plugin ``<backend>.<name>`` brings."""
    plugin = _only("kernels", name)
    kernels = plugin.load(backend_name=backend_name)
    return KernelSet(int(getattr(plugin.module, "priority", 0)), kernels, plugin.rewrites)


def _only(kind: str, name: str) -> _Plugin:
    """The one plugin of that name which can be asked; else the error that says what is wrong."""
    candidates = [plugin for plugin in installed(kind) if plugin.name == name]
    open_ones = [p for p in candidates if p.state not in ("blocked", "incompatible")]
    if len(open_ones) > 1:
        owners = " and ".join(sorted(plugin.owner for plugin in open_ones))
        raise PluginError(
            f"{kind} {name!r} is registered by {owners}: uninstall one of them, or set "
            f"AGNOSTIC_DL_BLOCK to the distribution that is to be ignored"
        )
    if open_ones:
        return open_ones[0]
    if candidates:
        kind_of_error = UnknownNameError if candidates[0].state == "blocked" else PluginError
        raise kind_of_error(candidates[0].diagnosis(None))
    raise UnknownNameError(_unknown(kind, name))


def name_of(kind: str, registered: Any) -> str:
    """The name under which an installed plugin registered this object."""
    module = getattr(registered, "__module__", None)
    for plugin in installed(kind):
        if plugin.state == "found" and plugin.entry.value == module:
            plugin.load()  # its module was imported directly
        if plugin.contribution.get(plugin.name) is registered:
            return plugin.name
    raise UnknownNameError(
        f"{registered!r} is not registered by any installed {kind} plugin: give it an entry point "
        f"in the group {GROUPS[kind]}"
    )


def _unknown(kind: str, name: str) -> str:
    import difflib

    known = names(kind)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    failed = [p.diagnosis() for p in installed(kind) if p.state in ("failed", "incompatible")]
    failures = f" Failed to load: {'; '.join(failed)}." if failed else ""
    listing = ", ".join(known) or f"none (install a package that offers a {kind})"
    return f"unknown {kind} {name!r}.{hint} Installed: {listing}.{failures}"
