"""Examination of plugins, each in a process of its own: cause and cure in one line each.

What a plugin does when it is imported (exit, hang, crash, print) stays in that process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from agnostic_dl import plugins
from agnostic_dl.contract import clip, one_line
from agnostic_dl.errors import PluginError, UnknownNameError

TIME_LIMIT = 10.0
_START_LIMIT = 60.0
LINE = 118  # 120 with the sign that the command puts in front


@dataclass(frozen=True)
class Diagnosis:
    """What became of one plugin: *state* as in PluginInfo; *note*: what is good to know of it."""

    name: str
    kind: str
    distribution: str
    version: str
    state: str
    cause: str | None = None
    cure: str | None = None
    note: str | None = None
    details: str = ""
    import_seconds: float | None = None

    @property
    def healthy(self) -> bool:
        """Whether it can be used."""
        return self.state == "loaded"

    @property
    def line(self) -> str:
        """Name, distribution, version and cause in one line of at most 118 characters."""
        what = self.cause or self.note or "works"
        line = f"{self.kind} {self.name!r} ({self.distribution} {self.version}): {what}"
        return clip(line, LINE)

    @property
    def cure_line(self) -> str:
        """What to do about it in one line of at most 118 characters."""
        return clip(f"cure: {self.cure}", LINE) if self.cure else ""


def examine(
    names: Iterable[str] = (), *, time_limit: float = TIME_LIMIT, workers: int | None = None
) -> list[Diagnosis]:
    """Import each plugin (those of *names*: its own or its distribution's) in a child process."""
    wanted = set(names)
    chosen = [
        plugin
        for plugin in plugins.installed()
        if not wanted or {plugin.name, plugin.entry.distribution} & wanted
    ]
    unknown = wanted - {n for p in chosen for n in (p.name, p.entry.distribution)}
    if unknown:
        known = ", ".join(sorted({p.name for p in plugins.installed()})) or "none"
        raise UnknownNameError(f"no plugin {', '.join(sorted(unknown))}. Installed: {known}.")
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        found = list(pool.map(lambda plugin: _examine(plugin, time_limit), chosen))
    _remember(found)
    return found


def import_times() -> dict[str, float]:
    """What earlier examinations measured: `import_key` → seconds; imports nothing."""
    try:
        times: dict[str, float] = json.loads(_times_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return times


def import_key(kind: str, name: str, distribution: str, version: str) -> str:
    """Under which a plugin's import time is kept: of this version in this environment."""
    return "|".join((sys.prefix, kind, name, distribution, version))


def _remember(found: list[Diagnosis]) -> None:
    """Keep the import times for `plugins list`; where nothing can be written, go without."""
    new = {
        import_key(d.kind, d.name, d.distribution, d.version): d.import_seconds
        for d in found
        if d.import_seconds is not None
    }
    path = _times_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps({**import_times(), **new}), encoding="utf-8")
        part.replace(path)
    except OSError:
        pass


def _times_file() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache, "agnostic_dl", "import_times.json")


def _examine(plugin: Any, time_limit: float) -> Diagnosis:
    blank = Diagnosis(
        plugin.name, plugin.kind, plugin.entry.distribution, plugin.entry.version, plugin.state
    )
    if not plugin.usable:
        return replace(blank, cause=plugin.error, cure=_cure_from_metadata(plugin))
    with tempfile.TemporaryDirectory() as folder:
        report, log = Path(folder, "report.json"), Path(folder, "log.txt")
        code = _run_child(plugin, report, log, time_limit)
        output = log.read_text(errors="replace")
        if report.exists():
            found = json.loads(report.read_text())
            return replace(blank, **{**found, "details": output + found["details"]})
    cause, cure = _violent_end(plugin, code, time_limit)
    return replace(blank, state="failed", cause=cause, cure=cure, details=output)


def _run_child(plugin: Any, report: Path, log: Path, time_limit: float) -> int | None:
    """The child's exit code, None where it was still running at the time limit."""
    command = [sys.executable, "-P", "-m", "agnostic_dl.doctor", str(report), plugin.kind]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*command, plugin.name, plugin.entry.distribution], env=environment,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            return _wait(child, _started(report), time_limit)
        finally:
            _end(child)


def _started(report: str | Path) -> Path:
    """The file by which the child tells that it is about to import the plugin."""
    return Path(f"{report}.started")


def _wait(child: subprocess.Popen[bytes], started: Path, time_limit: float) -> int | None:
    """Python's own start does not count: on a busy machine it can take seconds."""
    deadline = time.monotonic() + _START_LIMIT
    while not started.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        return child.wait(time_limit)
    except subprocess.TimeoutExpired:
        return None


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and, where the system has process groups, what it may have started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    except (ProcessLookupError, PermissionError):
        pass
    child.wait()


# -- in the child ----------------------------------------------------------------------------------


def _child(report: str, kind: str, name: str, distribution: str) -> None:
    import_module("agnostic_dl.extend")  # what every plugin imports is not its own time
    _started(report).touch()

    plugin = next(
        p for p in plugins.installed(kind) if (p.name, p.entry.distribution) == (name, distribution)
    )
    found: dict[str, Any] = {"cause": None, "cure": None, "note": None, "details": ""}
    try:
        found["note"] = _use(plugin)
    except PluginError as error:
        reason = error.__cause__ or error
        found.update(cause=plugin.error, cure=_cure(plugin, reason), details=plugin.details or "")
    except Exception as error:
        found.update(cause=one_line(error), cure=_cure(plugin, error))
        plugin.state = "failed"
    found.update(state=plugin.state, import_seconds=plugin.import_seconds)
    part = Path(report + ".part")
    part.write_text(json.dumps(found))
    part.rename(report)


def _use(plugin: Any) -> str | None:
    """Load it and ask what costs little; a remark about it, if there is one."""
    if plugin.kind == "kernels":
        plugin.load(backend_name=plugin.name.partition(".")[0])
        return None
    registered = plugin.load()[plugin.name]
    if plugin.kind == "backend":
        reason = registered.probe()
        return None if reason is None else f"not available here: {reason}"
    return None


# -- cures -----------------------------------------------------------------------------------------


def _cure_from_metadata(plugin: Any) -> str:
    owner = plugin.entry.distribution
    if plugin.state == "blocked":
        return f"take {plugin.name} or {owner} out of AGNOSTIC_DL_BLOCK"
    if plugin.state == "incompatible":
        return f"pip install --upgrade {owner}, or use the agnostic-dl that it was written for"
    if plugin.entry.malformed:
        return f"pip install --force-reinstall {owner}"
    return f"uninstall one of them, or AGNOSTIC_DL_BLOCK={owner} leaves this one out"


def _cure(plugin: Any, error: BaseException) -> str:
    owner, leave_out = plugin.entry.distribution, f"AGNOSTIC_DL_BLOCK={plugin.name} leaves it out"
    if isinstance(error, ModuleNotFoundError) and error.name:
        if error.name.partition(".")[0] == plugin.entry.value.partition(".")[0]:
            return f"pip install --force-reinstall {owner}; its own module is not there"
        return f"install what provides the module {error.name!r}; {owner} should depend on it"
    if isinstance(error, ImportError):
        return f"pip install --upgrade {owner} and what it imports; {leave_out}"
    if isinstance(error, SyntaxError):
        python = ".".join(map(str, sys.version_info[:2]))
        return f"pip install --upgrade {owner}; this version does not fit Python {python}"
    if isinstance(error, SystemExit):
        return f"{leave_out}; its authors must not exit at import"
    if isinstance(error, PluginError):
        return f"pip install --upgrade {owner}; its authors: see `agnostic-dl check-plugin`"
    return f"pip install --upgrade {owner}, or {leave_out}; --verbose shows where it fails"


def _violent_end(plugin: Any, code: int | None, time_limit: float) -> tuple[str, str]:
    leave_out = f"AGNOSTIC_DL_BLOCK={plugin.name} leaves it out"
    if code is None:
        return f"its import did not end within {time_limit:g} s", f"{leave_out}; or allow it longer"
    reinstall = f"pip install --force-reinstall {plugin.entry.distribution}, or {leave_out}"
    if code < 0:
        return f"its import crashed Python ({signal.Signals(-code).name})", reinstall
    return f"its import ended Python with exit code {code}", reinstall


if __name__ == "__main__":
    _child(*sys.argv[1:])
