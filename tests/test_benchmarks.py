"""The benchmarks measure what they say; here without peers and for a moment only."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "compare_peers.py"


def compare(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=100
    )


def test_compare_peers_measures_ours_alone(tmp_path):
    out = tmp_path / "figures.json"
    done = compare("--rows", "S", "--rounds", "2", "--peers", "", "--out", str(out))
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(out.read_text())["rows"]
    assert set(row["median_ms"]) == {"numpy", "numpy+kernels"}
    assert all(0 < value < 100 for value in row["median_ms"].values())
    assert row["losses_differ_by"] <= 1e-6
    assert "| S tiny |" in done.stdout


def test_an_unknown_peer_is_named():
    done = compare("--peers", "torhc")
    assert done.returncode == 1
    assert "torhc" in done.stderr
    assert "torch channels_last" in done.stderr
