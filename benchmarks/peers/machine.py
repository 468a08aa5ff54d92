"""What the figures were measured on, and with what."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_DISTRIBUTIONS = ("numpy", "torch", "jax", "jaxlib", "numba", "onednn-cpu-gomp")


def about(threads: int) -> dict[str, Any]:
    """Date, machine, Python, the versions of all that takes part, threads."""
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": {"cpu": cpu_model(), "cores": cores(), "caches": caches(),
                    "system": platform.platform()},
        "python": platform.python_version(), "threads": threads,
        "versions": {n: v for n in _DISTRIBUTIONS if (v := _version(n)) is not None},
        "kernel_plugins": kernel_plugins(), "load_at_start": load(),
    }  # fmt: skip


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def caches() -> dict[str, str]:
    """Name → size of the first core's caches, where the system tells."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / n).read_text().strip() for n in ("level", "type", "size"))
        except OSError:
            continue
        found[f"L{level} {kind.lower()}"] = size
    return found


def load() -> float | None:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def kernel_plugins() -> dict[str, Any]:
    """The installed kernel plugins for NumPy: version, and why one cannot take part."""
    from agnostic_dl import plugins
    from peers import candidates

    reasons = candidates.kernel_plugins()
    versions = {info.name.partition(".")[2]: info.version for info in plugins.infos("kernels")}
    return {name: {"version": versions[name], "left_out": why} for name, why in reasons.items()}


def made_of() -> dict[str, Any]:
    """The libraries behind what this process has loaded, as far as they say."""
    found: dict[str, Any] = {}
    for module, name, ask in (
        ("torch", "torch", _torch), ("numpy", "blas", _blas),
        ("agnostic_dl_onednn.library", "onednn", lambda m: m.version()),
    ):  # fmt: skip
        if module in sys.modules:
            try:
                found[name] = ask(sys.modules[module])
            except Exception as error:  # of use to a reader only: the figures do not need it
                found[name] = f"unknown ({error})"
    return found


def _torch(torch: Any) -> list[str]:
    lines = torch.__config__.show().splitlines()
    return [line.strip(" -") for line in lines if "oneAPI" in line or "MKL-DNN" in line]


def _blas(numpy: Any) -> str:
    blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"
