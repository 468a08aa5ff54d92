"""Row 10: plugins that are broken, each in its own way, among plugins that are not."""

from __future__ import annotations

import re
import subprocess
import sys

from reliability_rows.common import PROJECT, environment
from reliability_rows.table import Outcome, row

_TESTS = PROJECT / "tests" / "plugins" / "test_broken.py"


@row(10, "broken plugins", "9/9 kinds: all others work, one line each with distribution and cause")
def broken(full: bool) -> Outcome:
    """The plugin platform's own tests of its nine kinds, each of which must pass."""
    outcome = Outcome()
    if not _TESTS.exists():
        outcome.skipped = "the plugin platform's tests are not here"
        return outcome
    chosen = [] if full else ["-k", "knows_names"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(_TESTS), *chosen],
        capture_output=True, text=True, cwd=PROJECT, env=environment(), timeout=280,
    )  # fmt: skip
    passed = re.search(r"(\d+) passed", done.stdout)
    for _ in range(int(passed[1]) if passed else 0):
        outcome.check(True, "")
    if done.returncode != 0 or passed is None:
        outcome.check(False, done.stdout[-600:])
    outcome.note("tests of 9 kinds")
    return outcome
