"""The other side of a worker: asks it, waits no longer than it should, and ends it for certain."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]
#: Seconds that one answer may take: a first step may compile for minutes on a busy machine.
PATIENCE = 600.0
#: What every process is told; compilers that stay beside a process would take cores from others.
SETTINGS = {"JAX_PLATFORMS": "cpu", "TORCHINDUCTOR_COMPILE_THREADS": "1"}


class CandidateFailed(RuntimeError):
    """A candidate ended, or gave no answer in time; the message says what it wrote last."""


def environment(threads: int) -> dict[str, str]:
    """What keeps every library to the same number of threads; see compare_peers.py."""
    count = str(threads)
    names = (
        "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS", "AGNOSTIC_DL_NUMPY_THREADS", "NPROC",
    )  # fmt: skip
    return {**os.environ, **SETTINGS, **dict.fromkeys(names, count)}


class Worker:
    """A process that makes steps when it is asked; a context manager that ends it."""

    def __init__(self, module: str, *arguments: str, threads: int, patience: float = PATIENCE):
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed by end)
        self._answers: queue.Queue[bytes] = queue.Queue()
        self.patience = patience
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=HERE, env=environment(threads),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
            start_new_session=True,  # so that what it starts itself ends with it
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(b"")

    def ask(self, line: str) -> Any:
        """What it answers to one line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise CandidateFailed(self._last_words("ended")) from error
        return self.answer()

    def answer(self) -> Any:
        """Its next answer."""
        try:
            found = self._answers.get(timeout=self.patience)
        except queue.Empty:
            raise CandidateFailed(
                self._last_words(f"gave no answer in {self.patience:.0f} s")
            ) from None
        if not found:
            raise CandidateFailed(self._last_words("ended"))
        return json.loads(found)

    def _last_words(self, what: str) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f"{what}: " + (" | ".join(lines[-3:]) or "and wrote nothing")

    def end(self) -> None:
        """End it and all that it started."""
        try:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        except ProcessLookupError:
            pass
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
