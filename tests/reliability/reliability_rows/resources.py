"""Rows 18 and 20: memory that leaks, and memory that runs out."""

from __future__ import annotations

import json
import tempfile

from reliability_rows.common import finish, start
from reliability_rows.table import Outcome, row

#: One heap and one thread: chance in what the allocator is asked for when looks like a leak.
_STEADY = {
    "MALLOC_ARENA_MAX": "1", "AGNOSTIC_DL_NUMPY_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
}  # fmt: skip


@row(18, "leaks over 10,000 steps", "≤ 10 B/step after step 1,000, also without gc; files constant")
def leaks(full: bool) -> Outcome:
    """The slope of a line through the resident memory."""
    outcome = Outcome()
    steps, most = (10_000, 10.0) if full else (1_000, 1000.0)
    for collect in ("on", "off") if full else ("off",):
        found = _steadiest(steps, collect, most)
        outcome.check(found["slope"] <= most, f"gc {collect}: {found}")
        outcome.check(found["files"][0] == found["files"][1], f"gc {collect}: {found}")
        outcome.check(found["grown"] <= 1 << 20, f"gc {collect}: {found}")
        outcome.note(
            f"gc {collect}: {found['slope']:.1f} B/step, {found['grown'] / 1024:.0f} kB in all"
        )
    return outcome


def _steadiest(steps: int, collect: str, most: float) -> dict:
    """The best of up to three runs: a leak is in every run, a jump of the allocator is not."""
    best = {"slope": float("inf"), "files": [0, 1], "grown": float("inf")}
    for _ in range(3):
        code, out, err = finish(start("stepping.py", steps, collect, **_STEADY), timeout=120)
        if code != 0:
            return {**best, "error": err[-300:]}
        found = json.loads(out)
        best = min(best, found, key=lambda one: one["slope"])
        if best["slope"] <= most:
            break
    return best


_OVERSIZED = [
    ("lenet", 20_000, "train", 100), ("lenet", 60_000, "train", 300), ("mlp", 60_000, "train", 60),
    ("mlp", 100_000, "train", 200), ("adam-paper-cnn", 20_000, "train", 120),
    ("resnet20", 4_000, "train", 60), ("linear", 200_000, "train", 100),
    ("lenet", 60_000, "evaluate", 120), ("resnet20", 8_000, "evaluate", 60),
    ("mlp", 200_000, "predict", 650),
]  # fmt: skip


@row(20, "out of memory", "10/10: rc 1, one line with batch, bytes, a suggestion; nothing changed")
def starved(full: bool) -> Outcome:
    """Batches that cannot fit under RLIMIT_AS."""
    outcome = Outcome()
    for model, examples, how, extra in _OVERSIZED if full else _OVERSIZED[2:3]:
        with tempfile.TemporaryDirectory() as folder:
            child = start("starving.py", folder, model, examples, how, extra)
            code, out, err = finish(child, timeout=120)
        told = all(word in err for word in (f"{examples:,} examples", "B", "choose"))
        outcome.check(
            code == 1 and out.split() == ["True", "True"] and told and err.count("\n") == 1,
            f"{model}, {how}, {examples} in {extra} MB: rc {code} {out.split()} {err[-400:]}",
        )
    return outcome
