"""Every check that needs a GPU, in one command of at most ten minutes.

    python tools/gpu_check.py --out FOLDER [--dry] [--only kernels,products] [--mnist FOLDER]

Each phase is a process of its own with a time cap: one that fails, hangs or takes the device down
does not stop the next. FOLDER/<phase>.json is written after each, FOLDER/summary.json at the end;
the exit status is 1 if any phase failed. --dry rehearses the same phases, on small sizes, on the
host and its stand-ins for CUDA's libraries: its figures mean nothing and are not to be published.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

#: Phase → the most seconds that it may take; 590 in all. A rehearsal may take six times as long.
CAPS = {
    "environment": 20, "transfers": 15, "kernels": 30, "generated": 30, "convolutions": 40,
    "products": 15, "replay": 15, "graphs": 30, "devices": 15, "conformance": 45, "training": 50,
    "mnist": 45, "adam": 25, "convolution_speed": 45, "launch_bound": 25, "resnet18": 35,
    "resnet18_compiled": 70, "suite": 40,
}  # fmt: skip


def run_phase(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one phase in a process of its own; what became of it, which its file says as well."""
    command = [sys.executable, str(Path(__file__).with_name("gpu_phases.py")), name]
    command += ["--dry"] * arguments.dry
    command += ["--mnist", arguments.mnist] if arguments.mnist else []
    started = time.monotonic()
    cap = CAPS[name] * (6 if arguments.dry else 1)
    record: dict[str, Any] = {"phase": name, "dry": arguments.dry, "cap_seconds": cap}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=cap)
    except subprocess.TimeoutExpired:
        record["status"] = "timed out"
    else:
        record.update(_outcome(done))
    record["seconds"] = round(time.monotonic() - started, 2)
    (arguments.out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    return record


def _outcome(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The last line of the output is the result; without one the phase has failed."""
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        result = json.loads(lines[-1])
        return {"status": "skipped" if "skipped" in result else "ok", "result": result}
    return {"status": "failed", "error": done.stderr[-4000:], "exit": done.returncode}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--only", default=",".join(CAPS))
    parser.add_argument("--mnist")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    unknown = [name for name in names if name not in CAPS]
    if unknown:
        parser.error(f"no phase is called {', '.join(unknown)}; there are {', '.join(CAPS)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    summary = {}
    # On a GPU one phase has the device for itself; a rehearsal has no times to spoil.
    with ThreadPoolExecutor(max_workers=2 if arguments.dry else 1) as workers:
        records = workers.map(partial(run_phase, arguments=arguments), names)
        for name, record in zip(names, records, strict=True):
            summary[name] = record["status"]
            print(f"{name:18} {record['status']:10} {record['seconds']:7.1f} s", flush=True)
    (arguments.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return int(not {"failed", "timed out"}.isdisjoint(summary.values()))


if __name__ == "__main__":
    sys.exit(main())
