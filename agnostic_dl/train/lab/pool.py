"""Runs jobs: in this process, or in others, each with its share of the cores' threads.

The others are plain children that read jobs as lines of JSON and answer likewise, so nothing is
pickled and the caller's script needs no guard. Every finished job is written down at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from agnostic_dl import errors
from agnostic_dl.train.lab import tables
from agnostic_dl.train.lab.entry import Entry
from agnostic_dl.train.lab.job import Job, Model, run_job

Tell = Callable[[dict[str, Any]], None]
_THREADS = (
    "AGNOSTIC_DL_NUMPY_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
)  # fmt: skip


def precisions(folder: Path) -> set[str | None]:
    """In which precisions the finished runs in a folder of results were computed."""
    found: set[str | None] = set()
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            found.add(json.loads(path.read_text()).get("precision"))
    return found


class Pool:
    """Runs lists of jobs and keeps their results in *folder*; a context manager."""

    def __init__(
        self, parts: Mapping[str, Any], folder: Path, backend: str, workers: int, tell: Tell,
        model: Model | None = None, entries: Sequence[Entry] = (), resume: bool = True,
    ) -> None:  # fmt: skip
        self.parts, self.folder, self.backend, self.tell = parts, folder, backend, tell
        self.model, self.resume = model, resume
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)
        self.entries = {entry.label: entry for entry in entries}
        foreign = callable(model) or any(entry.name is None for entry in entries)
        self.workers = 1 if foreign else workers
        self._children: list[_Child] = []
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: Any) -> None:
        for child in self._children:
            child.stop()
        if self._scratch is not None:
            self._scratch.cleanup()

    def run(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """The results of the jobs, in order; those that are there already are read."""
        found = {job.key: self._earlier(job) for job in jobs}
        todo = [job for job in jobs if found[job.key] is None]
        if self.workers == 1 or len(todo) == 0:
            for job in todo:
                found[job.key] = self._here(job)
        else:
            self._elsewhere(todo, found)
        return [found[job.key] or {} for job in jobs]

    def _earlier(self, job: Job) -> dict[str, Any] | None:
        if not self.resume:
            return None
        try:
            found = json.loads((self.folder / f"{job.key}.json").read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and "curve" in found else None

    def _here(self, job: Job) -> dict[str, Any]:
        entry = self.entries.get(job.label)
        own = entry if entry is not None and entry.name is None else None
        result = run_job(
            job, self.parts, self.folder, entry=own, model=self.model, backend=self.backend,
            tell=self.tell,
        )  # fmt: skip
        return self._keep(job, result)

    def _keep(self, job: Job, result: dict[str, Any]) -> dict[str, Any]:
        tables.write(self.folder / f"{job.key}.json", json.dumps(result).encode())
        shutil.rmtree(self.folder / job.key, ignore_errors=True)  # its checkpoint has served
        self.tell({"done": job.key, "label": job.label, "rate": job.rate, "seed": job.seed,
                   "search": bool(job.steps), "result": result})  # fmt: skip
        return result

    # -- other processes ------------------------------------------------------------------------

    def _elsewhere(self, jobs: Sequence[Job], found: dict[str, Any]) -> None:
        queue: SimpleQueue[Job] = SimpleQueue()
        for job in jobs:
            queue.put(job)
        while len(self._children) < min(self.workers, len(jobs)):
            self._children.append(_Child(self._bundle(), self.folder, self.backend, self.workers))

        def serve(child: _Child) -> None:
            while True:
                try:
                    job = queue.get_nowait()
                except Empty:
                    return
                found[job.key] = self._keep(job, child.run(job, self.tell))

        threads = ThreadPoolExecutor(len(self._children))
        try:
            for future in [threads.submit(serve, child) for child in self._children]:
                future.result()
        except BaseException:
            while not queue.empty():
                queue.get()
            for child in self._children:
                child.stop()
            self._children = []
            raise
        finally:
            threads.shutdown()

    def _bundle(self) -> Path:
        from agnostic_dl.data.bundle import write_bundle

        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="agnostic-dl-")
            write_bundle(Path(self._scratch.name) / "data.npz", self.parts)
        return Path(self._scratch.name) / "data.npz"


class _Child:
    """A process that runs one job after the other."""

    def __init__(self, bundle: Path, folder: Path, backend: str, workers: int) -> None:
        threads = str(max((os.cpu_count() or 1) // workers, 1))
        environment = {**os.environ, **dict.fromkeys(_THREADS, threads)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agnostic_dl.train.lab.worker", str(bundle), str(folder),
             backend],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            encoding="utf-8",
        )  # fmt: skip

    def run(self, job: Job, tell: Tell) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(asdict(job)) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has gone: said below
        for line in self.process.stdout:
            answer = json.loads(line)
            if "result" in answer:
                result: dict[str, Any] = answer["result"]
                return result
            if "error" in answer:
                kind = getattr(errors, answer["error"], errors.AgnosticDLError)
                raise kind(f"{job.label}, learning rate {job.rate:g}: {answer['message']}")
            tell(answer)
        raise errors.AgnosticDLError(
            f"{job.label}, learning rate {job.rate:g}: the process ended without a result (exit "
            f"code {self.process.wait()}); what was finished is kept"
        )

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
