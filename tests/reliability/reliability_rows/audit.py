"""What a piece of code does behind one's back: Python's audit events, while they are watched."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Beginnings of events that no reader of data may cause.
FORBIDDEN = (
    "exec", "compile", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork",
    "subprocess.", "socket.", "urllib.", "http.", "ftplib.", "ctypes.dlopen", "pickle.",
    "marshal.", "shutil.", "os.symlink", "webbrowser.",
)  # fmt: skip

_watcher: list[Callable[[str, tuple[Any, ...]], None]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for watch in _watcher:
        watch(event, arguments)


@contextmanager
def watched(root: Path) -> Iterator[list[str]]:
    """What is done in this context outside *root*, and what should not be done at all."""
    if not hasattr(sys, "_reliability_hook"):
        sys.addaudithook(_hook)
        sys._reliability_hook = True  # type: ignore[attr-defined]
    seen: list[str] = []
    inside = os.path.realpath(root)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import" and arguments[0] not in sys.modules:
            seen.append(f"import {arguments[0]}")
        elif event in ("open", "os.listdir", "os.scandir"):
            path = arguments[0]
            if isinstance(path, (str, bytes)) and _foreign(os.fsdecode(path), inside):
                seen.append(f"{event} {os.fsdecode(path)}")
        elif event.startswith(FORBIDDEN):
            seen.append(f"{event} {str(arguments)[:80]}")

    _watcher.append(watch)
    try:
        yield seen
    finally:
        _watcher.remove(watch)


def _foreign(path: str, inside: str) -> bool:
    # The version of a plugin is read from its package: no file names it.
    return not (path.endswith(".dist-info/METADATA") or _below(path, inside))


def _below(path: str, inside: str) -> bool:
    _watching, _watcher[:] = _watcher[:], []  # looking at the path must not report itself
    try:
        real = os.path.realpath(path)
    finally:
        _watcher[:] = _watching
    return real == inside or real.startswith(inside + os.sep)
