"""Runs asv, and fails where it measured nothing: asv itself ends with 0 when all was skipped.

    python asv_benchmarks/measure.py run [arguments of asv run]
    python asv_benchmarks/measure.py continuous [arguments of asv continuous]

Reasons of what was skipped are shown. What is measured in an existing environment is saved under
the commit that is checked out. Exit codes: asv's own, or 1 if no benchmark gave a number.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def figures(results: Path, since: float = 0.0) -> Iterator[tuple[str, float | None]]:
    """The figures in asv's files of results: (file, benchmark and number of its parameters), value.

    NaN: skipped; None: failed. *since*: only those of benchmarks that were started at this time or
    later, in seconds.
    """
    for path in sorted(results.glob("*/*.json")):
        if path.name != "machine.json":
            for name, value in _of_file(json.loads(path.read_text()), since):
                yield f"{path.stem} {name}", value


def _of_file(content: dict[str, Any], since: float) -> Iterator[tuple[str, float | None]]:
    columns = content["result_columns"]
    for name, row in content["results"].items():
        entry = dict(zip(columns, row, strict=False))
        if entry.get("started_at", 0) / 1000 < since:
            continue
        values = entry["result"]
        for number, value in enumerate(values if isinstance(values, list) else [None]):
            yield f"{name} {number}", value


def outcomes(results: Path, since: float = 0.0) -> Counter[str]:
    """How many of the figures are "measured", "skipped" and "failed"."""
    return Counter(_outcome(value) for _, value in figures(results, since))


def _outcome(value: float | None) -> str:
    if value is None:
        return "failed"
    return "skipped" if math.isnan(value) else "measured"


def arguments_for(command: list[str], commit: str) -> list[str]:
    """asv's arguments: with the reasons of what is skipped, and saved where it would not be."""
    added = ["--show-stderr"]
    existing = any("existing" in word or word == "--python=same" for word in command)
    if command[0] == "run" and existing and "--set-commit-hash" not in " ".join(command):
        added += ["--set-commit-hash", commit]
    return [*command, *added]


def checked_out() -> str:
    """The hash of the commit whose benchmarks these are."""
    asked = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(asked, cwd=HERE, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def asv(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "asv", *arguments], cwd=HERE).returncode


def results_folder(command: list[str]) -> Path:
    """Where asv saves, by the configuration that the arguments name, or else this folder's."""
    from asv.config import Config

    config = HERE / "asv.conf.json"
    if "--config" in command:
        config = Path(command[command.index("--config") + 1])
    return config.parent / Config.load(str(config)).results_dir


def main(command: list[str]) -> int:
    """Run asv's *command*; its exit code, or 1 if there is no new figure."""
    try:
        results = results_folder(command)
    except ImportError:
        print("asv is not installed: pip install asv virtualenv", file=sys.stderr)
        return 1
    if not Path.home().joinpath(".asv-machine.json").exists():
        asv("machine", "--yes")
    started = time.time()
    code = asv(*arguments_for(command, checked_out()))
    found = outcomes(results, started - 1)
    print(", ".join(f"{found[kind]} {kind}" for kind in ("measured", "skipped", "failed")))
    if not found["measured"]:
        print("error: no benchmark was measured", file=sys.stderr)
    return code or int(not found["measured"])


if __name__ == "__main__":
    if sys.argv[1:2] not in (["run"], ["continuous"]):
        raise SystemExit(__doc__)
    raise SystemExit(main(sys.argv[1:]))
