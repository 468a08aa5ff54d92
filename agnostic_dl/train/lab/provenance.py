"""Where numbers come from: versions and machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from agnostic_dl import plugins


def versions(backend: str) -> dict[str, str]:
    """Versions of Python, of the library, of its plugins and of the arrays' library."""
    found = {"python": platform.python_version(), "machine": _machine()}
    owners = {info.distribution: info.version for info in plugins.list_plugins()}
    for name in ("agnostic-dl", "numpy", backend):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**found, **dict(sorted(owners.items()))}


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
