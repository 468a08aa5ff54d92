"""Where generated code lies, so that the next process finds it compiled.

Numba keeps what it compiled beside the file that the code came from, and so the text is written to
a file, in a folder of the user's. Its place is worked out here and not by a package for it: it is
one environment variable on each system, and there is nothing else to find.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

#: All files have this time of change, whoever writes them: Numba compiles anew what is newer.
_TIME = 1_000_000_000


def folder() -> Path:
    """The folder: in ``$NUMBA_CACHE_DIR``, else where the system has users' caches."""
    told = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    if told:
        base = Path(told)
    elif sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        base = Path(os.environ["LOCALAPPDATA"])
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "agnostic-dl-numba"


def stored(text: str) -> Path | None:
    """The file with exactly this text, by its hash; None where no file can be written."""
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    try:
        place = folder()
        # What is compiled is loaded without a question: nobody else may write here.
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = place / f"loop_{name}.py"
        if not _holds(path, text):
            _write(path, text)
        return path if _is_mine(place) and os.access(place, os.W_OK) else None
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None


def _is_mine(place: Path) -> bool:
    return not hasattr(os, "getuid") or place.stat().st_uid == os.getuid()


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text and path.stat().st_mtime == _TIME
    except (OSError, UnicodeDecodeError):
        return False


def _write(path: Path, text: str) -> None:
    """Whole or not at all, also where two processes write at once."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.utime(name, (_TIME, _TIME))
        os.replace(name, path)
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        raise
