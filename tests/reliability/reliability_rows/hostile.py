"""Rows 6 to 9: inputs that are broken, too large, or meant to do harm."""

from __future__ import annotations

import json
import tempfile

from reliability_rows.common import finish, start
from reliability_rows.table import Outcome, row


@row(6, "fuzzed files", "20,000: only our errors, with the path; each ≤ 1 s and ≤ 256 MB")
def fuzzed(full: bool) -> Outcome:
    """IDX, gzip, PNG, JPEG, BMP, WebP, npz, checkpoints, and manifests signed again."""
    outcome = Outcome()
    count = 20_000 if full else 400
    with tempfile.TemporaryDirectory() as folder:
        code, out, err = finish(start("fuzzing.py", folder, count, 6), timeout=290)
    if not outcome.check(code == 0, err[-500:]):
        return outcome
    found = json.loads(out)
    outcome.tried, outcome.held = found["tried"], found["read"] + found["refused"]
    outcome.failures += found["wrong"]
    outcome.note(
        f"{found['refused']:,} refused, slowest {found['slowest']:.2f} s, "
        f"peak memory + {found['grown'] / 2**20:.0f} MB"
    )
    if found["slowest"] > 1 or found["grown"] > 256 << 20:
        outcome.failures.append("too slow or too large")
    return outcome


def _cases(outcome: Outcome, script: str, full: bool) -> None:
    """Every case of a child that prints a JSON object on a line for each."""
    with tempfile.TemporaryDirectory() as folder:
        code, out, err = finish(start(script, folder, "full" if full else "short"), timeout=290)
    for line in out.splitlines():
        found = json.loads(line)
        outcome.check(found["problem"] is None, f"{found['name']}: {found['problem']}")
    if code != 0:
        outcome.failures.append(err[-500:])


@row(7, "decompression bombs", "12/12 refused before decoding, memory + ≤ 64 MB")
def bombs(full: bool) -> Outcome:
    """Small files that promise, or hold, gigabytes."""
    outcome = Outcome()
    _cases(outcome, "bombs.py", full)
    return outcome


@row(8, "paths and links", "40/40: 0 bytes read or written outside the folder")
def traversal(full: bool) -> Outcome:
    """Folders and archives that point elsewhere."""
    outcome = Outcome()
    _cases(outcome, "traversal.py", full)
    return outcome


@row(9, "hostile checkpoints", "30/30: 0 imports, executions, sockets, foreign opens")
def payloads(full: bool) -> Outcome:
    """Model files that name code, under an audit hook."""
    outcome = Outcome()
    _cases(outcome, "payloads.py", full)
    return outcome
