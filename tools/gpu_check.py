"""Every check that needs a GPU, in one command of at most ten minutes.

    python tools/gpu_check.py --out FOLDER [--dry] [--only kernels,products] [--mnist FOLDER]

Each phase is a process of its own with a time cap: one that fails, hangs or takes the device down
does not stop the others, and what it had found by then is kept. Phases that compare results share
the device; those that take times have it for themselves, one after the other. FOLDER/<phase>.json
and FOLDER/summary.json are written after each; at the end stands what failed, and why. The exit
status is 1 if any phase failed, ran out of time or could not be begun. --dry rehearses the same
phases, on small sizes, on the host and its stand-ins for CUDA's libraries: its figures mean nothing
and are not to be published.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

#: Phases that share the device → the most seconds that each may take.
TOGETHER = {
    "transfers": 60, "kernels": 90, "generated": 90, "convolutions": 110, "products": 60,
    "replay": 60, "graphs": 90, "mixed": 90, "devices": 60, "conformance": 155,
    "kernel_conformance": 110, "training": 130, "mnist": 110,
}  # fmt: skip
#: Phases that have it for themselves. The first one comes before those that share it.
ALONE = {
    "environment": 25, "adam": 40, "launch_bound": 40, "convolution_speed": 90, "resnet18": 60,
    "resnet18_compiled": 120, "suite": 50,
}  # fmt: skip
CAPS = ALONE | TOGETHER
#: Seconds that all may take. A rehearsal may take six times as long, and two phases share it.
TOTAL = 585
SLOWER, AT_ONCE = 6, 2

PASSED = ("ok", "skipped")
Record = dict[str, Any]
#: The phases that are running: they end with this command.
running: set[subprocess.Popen[bytes]] = set()


class Run:
    """The phases of one call of this command, and what became of each."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.slower = SLOWER if arguments.dry else 1
        self.deadline = time.monotonic() + TOTAL * self.slower
        self.summary: dict[str, str] = {}
        self.records: dict[str, Record] = {}

    def phases(self, names: list[str]) -> None:
        """Run them: the first that is to be alone, those that are not, the rest that are."""
        alone = [name for name in names if name in ALONE]
        first = [name for name in alone if name == "environment"]
        self.together(first, 1)
        together = [name for name in names if name in TOGETHER]
        self.together(together, AT_ONCE if self.arguments.dry else max(len(together), 1))
        # A rehearsal has no times to spoil.
        rest = [name for name in alone if name not in first]
        self.together(rest, AT_ONCE if self.arguments.dry else 1)

    def together(self, names: list[str], workers: int) -> None:
        with ThreadPoolExecutor(max_workers=workers) as pool:
            begun = {pool.submit(self.phase, name): name for name in names}
            try:
                for future in as_completed(begun):
                    self.note(begun[future], future.result())
            except BaseException:  # this command is to end: so are they, and none is begun
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(running):
                    end(process)
                raise

    def phase(self, name: str) -> Record:
        """Run one phase; what became of it, which its file says as well."""
        started = time.monotonic()
        cap = min(CAPS[name] * self.slower, self.deadline - started)
        record: Record = {"phase": name, "dry": self.arguments.dry, "cap_seconds": round(cap, 1)}
        if cap < 1:
            record["status"] = "not begun"
        else:
            record |= watched(self.command(name), cap, environment(name))
        record["seconds"] = round(time.monotonic() - started, 2)
        (self.arguments.out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
        return record

    def command(self, name: str) -> list[str]:
        command = [sys.executable, str(Path(__file__).with_name("gpu_phases.py")), name]
        command += ["--dry"] * self.arguments.dry
        return [*command, *(["--mnist", self.arguments.mnist] if self.arguments.mnist else [])]

    def note(self, name: str, record: Record) -> None:
        self.records[name], self.summary[name] = record, record["status"]
        print(f"{name:18} {record['status']:10} {record['seconds']:7.1f} s", flush=True)
        text = json.dumps(self.summary, indent=1) + "\n"
        (self.arguments.out / "summary.json").write_text(text)

    def close(self) -> int:
        """Say what failed, and why; the exit status."""
        failed = [name for name, status in self.summary.items() if status not in PASSED]
        for name in failed:
            lines = self.records[name].get("error", "").strip().splitlines()
            print(f"{name}: {lines[-1] if lines else self.summary[name]}")
        for name, record in self.records.items():
            short = [] if self.arguments.dry else missed(record.get("result", {}))
            if short:
                print(f"{name}: short of the aim in {', '.join(short)}")
        passed = len(self.summary) - len(failed)
        print(f"{passed} of {len(self.summary)} phases passed; see {self.arguments.out}")
        return int(bool(failed))


def environment(name: str) -> dict[str, str]:
    """Phases that share the machine compute with two threads each on the host."""
    shared = {"OMP_NUM_THREADS": "2"} if name in TOGETHER else {}
    return shared | os.environ


def watched(command: list[str], cap: float, environment: Mapping[str, str]) -> Record:
    """Run a command for *cap* seconds at most: its status, result or error, and what it said."""
    with tempfile.TemporaryFile("w+b") as out, tempfile.TemporaryFile("w+b") as errors:
        # A session of its own: what the phase has started ends with it. Files, and no pipes: what
        # goes on all the same cannot keep them open.
        process = subprocess.Popen(
            command, stdout=out, stderr=errors, start_new_session=True, env=environment
        )
        running.add(process)
        try:
            code: int | None = process.wait(cap)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end(process)
            running.discard(process)
        return outcome(code, read(out), read(errors))


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it has started, if they are still there."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def outcome(code: int | None, out: str, errors: str) -> Record:
    """The last line that is an object of JSON is the result; without one the phase has failed.

    What is wrapped as "so far" is what a phase had found when it was noted.
    """
    found = [line for line in map(parsed, out.splitlines()) if line is not None]
    results = [line for line in found if "so far" not in line]
    if code == 0 and results:
        status = "skipped" if "skipped" in results[-1] else "ok"
        return {"status": status, "result": results[-1]}
    record: Record = {"status": "timed out" if code is None else "failed", "exit": code}
    record["error"] = errors[-4000:]
    notes = [line["so far"] for line in found if "so far" in line]
    return record | ({"so far": notes[-1]} if notes else {})


def missed(found: Any) -> list[str]:
    """The names of what is short of its aim, anywhere in a result."""
    if not isinstance(found, dict):
        return []
    return [*found.get("missed", []), *(n for part in found.values() for n in missed(part))]


def parsed(line: str) -> dict[str, Any] | None:
    """The object of JSON that a line is; None: it is none (libraries print as they like)."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--only", default=",".join(CAPS))
    parser.add_argument("--mnist")
    arguments = parser.parse_args()
    names = list(dict.fromkeys(arguments.only.split(",")))
    unknown = [name for name in names if name not in CAPS]
    if unknown:
        parser.error(f"no phase is called {', '.join(unknown)}; there are {', '.join(CAPS)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = Run(arguments)
    run.phases(names)
    return run.close()


if __name__ == "__main__":
    sys.exit(main())
