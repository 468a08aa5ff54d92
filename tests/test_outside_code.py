"""Functions that others wrote for the Array API differentiate, as the example shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "examples" / "outside_code.py"


@pytest.mark.parametrize("library", ["scipy", "sklearn", "array_api_extra"])
def test_the_example_keeps_its_promises(library):
    pytest.importorskip(library, reason=f"{library} is not installed")
    run = subprocess.run(
        [sys.executable, str(SCRIPT), library],
        capture_output=True, text=True, timeout=120,
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{library}: refuses" in run.stdout
