"""Discovery of plugins: listed from package metadata, imported on first use, one guard each.

A plugin that fails to import or breaks its contract is recorded with its distribution, version and
cause, and never takes another one down.
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from textwrap import shorten
from types import ModuleType
from typing import Any

from agnostic_dl.errors import PluginError, UnknownNameError

GROUPS = {
    "backend": "agnostic_dl.backends",
    "optimizer": "agnostic_dl.optimizers",
    "kernels": "agnostic_dl.kernels",
}
HOOKS = {
    "backend": "agnostic_dl_backends",
    "optimizer": "agnostic_dl_optimizers",
    "kernels": "agnostic_dl_kernels",
}


@dataclass(frozen=True)
class PluginInfo:
    """One installed plugin: *state* is found, loaded, failed or blocked; *error* says why."""

    name: str
    kind: str
    distribution: str
    version: str
    state: str
    error: str | None = None


@dataclass
class _Plugin:
    """An entry point and what has become of it."""

    kind: str
    entry: EntryPoint
    state: str = "found"
    error: str | None = None
    details: str | None = None
    contribution: Mapping[str, Any] = field(default_factory=dict)
    module: ModuleType | None = None

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def distribution(self) -> str:
        return self.entry.dist.name if self.entry.dist else "unknown distribution"

    @property
    def version(self) -> str:
        return self.entry.dist.version if self.entry.dist else "unknown"

    def info(self) -> PluginInfo:
        return PluginInfo(
            self.name, self.kind, self.distribution, self.version, self.state, self.error
        )

    def load(self, **hook_arguments: Any) -> Mapping[str, Any]:
        """Import the module and ask its hook, once; a failure is kept and told again."""
        if self.state == "found":
            try:
                self.contribution = self._ask(hook_arguments)
                self.state = "loaded"
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a plugin may even call sys.exit() at import
                self.state = "failed"
                self.error = shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
                self.details = traceback.format_exc()
        if self.state != "loaded":
            raise PluginError(self.diagnosis())
        return self.contribution

    def _ask(self, hook_arguments: dict[str, Any]) -> Mapping[str, Any]:
        import pluggy

        from agnostic_dl import hookspecs

        self.module = self.entry.load()
        # One manager per module: a raising or misspelt hook is then that module's alone.
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(self.module, self.name)
        manager.check_pending()
        results = getattr(manager.hook, HOOKS[self.kind])(**hook_arguments)
        contribution = {name: value for result in results for name, value in result.items()}
        if self.kind != "kernels" and self.name not in contribution:
            raise PluginError(
                f"the hook {HOOKS[self.kind]} of {self.entry.value} returned "
                f"{sorted(contribution) or 'nothing'}, expected the entry point's name "
                f"{self.name!r}"
            )
        return contribution

    def diagnosis(self) -> str:
        return f"{self.kind} {self.name!r} ({self.distribution} {self.version}): {self.error}"


def _blocked_names() -> frozenset[str]:
    names = os.environ.get("AGNOSTIC_DL_BLOCK", "")
    return frozenset(_canonical(name) for name in names.split(",") if name.strip())


def _canonical(name: str) -> str:
    return name.strip().lower().replace("_", "-")


@lru_cache(maxsize=8)
def _scan(path: tuple[str, ...], blocked: frozenset[str]) -> tuple[_Plugin, ...]:
    found = []
    for kind, group in GROUPS.items():
        for entry in entry_points(group=group):
            plugin = _Plugin(kind, entry)
            if {_canonical(plugin.name), _canonical(plugin.distribution)} & blocked:
                plugin.state = "blocked"
                plugin.error = "blocked by $AGNOSTIC_DL_BLOCK"
            found.append(plugin)
    return tuple(found)


def _installed(kind: str | None = None) -> list[_Plugin]:
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
    return [plugin.info() for plugin in _installed()]


def names(kind: str) -> list[str]:
    """Names of the plugins of one kind that are not blocked, sorted; imports none of them."""
    return sorted({plugin.name for plugin in _installed(kind) if plugin.state != "blocked"})


def infos(kind: str) -> list[PluginInfo]:
    """The PluginInfo of each plugin of one kind, sorted by name; imports none of them."""
    return sorted((plugin.info() for plugin in _installed(kind)), key=lambda info: info.name)


def lookup(kind: str, name: str) -> Any:
    """Load the one plugin called *name* and return what its hook registered under that name.

    Raises UnknownNameError (naming near matches and what is installed) or PluginError (naming the
    distribution, its version and the cause).
    """
    candidates = [plugin for plugin in _installed(kind) if plugin.name == name]
    usable = [plugin for plugin in candidates if plugin.state != "blocked"]
    if len(usable) > 1:
        owners = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in usable)
        raise PluginError(
            f"{kind} {name!r} is registered by {owners}: uninstall one of them, or set "
            f"AGNOSTIC_DL_BLOCK to the distribution that is to be ignored"
        )
    if not usable:
        raise UnknownNameError(_unknown(kind, name, candidates))
    return usable[0].load()[name]


def name_of(kind: str, registered: Any) -> str:
    """The name under which a loaded plugin registered this object."""
    for plugin in _installed(kind):
        if plugin.contribution.get(plugin.name) is registered:
            return plugin.name
    raise UnknownNameError(
        f"{registered!r} is not registered by any installed {kind} plugin: give it an entry point "
        f"in the group {GROUPS[kind]}"
    )


def load_kernels(name: str, backend_name: str) -> tuple[int, Mapping[str, Any]]:
    """Priority and functions of the kernel plugin ``<backend>.<name>``."""
    for plugin in _installed("kernels"):
        if plugin.name == name:
            kernels = plugin.load(backend_name=backend_name)
            return int(getattr(plugin.module, "priority", 0)), kernels
    raise UnknownNameError(_unknown("kernels", name, []))


def _unknown(kind: str, name: str, blocked: list[_Plugin]) -> str:
    if blocked:
        return blocked[0].diagnosis()
    installed = names(kind)
    near = difflib.get_close_matches(name, installed, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    failed = [plugin.diagnosis() for plugin in _installed(kind) if plugin.state == "failed"]
    failures = f" Failed to load: {'; '.join(failed)}." if failed else ""
    listing = ", ".join(installed) or f"none (install a package that offers a {kind})"
    return f"unknown {kind} {name!r}.{hint} Installed: {listing}.{failures}"
