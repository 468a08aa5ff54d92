"""The command that needs a GPU is rehearsed here, so that GPU time does not end at a typo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agnostic_dl_cupy.rehearsal import host

TOOL = Path(__file__).parents[3] / "tools" / "gpu_check.py"
pytestmark = [
    pytest.mark.skipif(host.missing() is not None, reason=str(host.missing())),
    pytest.mark.skipif(not TOOL.exists(), reason="the tools are not beside this plugin"),
]  # fmt: skip


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_every_phase_is_rehearsed(tmp_path):
    done = check("--dry", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    for name, status in summary.items():
        record = json.loads((tmp_path / f"{name}.json").read_text())
        assert (record["status"], record["dry"]) == (status, True)
        assert record["seconds"] <= record["cap_seconds"]
    ran = {name for name, status in summary.items() if status == "ok"}
    assert ran >= {"environment", "kernels", "convolutions", "products", "conformance", "training"}
    assert summary["replay"] == summary["mnist"] == "skipped"


def test_a_phase_that_fails_does_not_stop_the_next(tmp_path):
    if host_has_gpu():
        pytest.skip("a GPU is here: the phases would run")
    done = check("--out", str(tmp_path), "--only", "environment,mnist")
    assert done.returncode == 1
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "environment": "failed", "mnist": "failed"
    }  # fmt: skip
    assert "cupy: " in json.loads((tmp_path / "mnist.json").read_text())["error"]


def host_has_gpu() -> bool:
    from agnostic_dl_cupy import probe

    return probe.reason() is None


def test_an_unknown_phase_is_refused(tmp_path):
    done = check("--dry", "--out", str(tmp_path), "--only", "kernel")
    assert done.returncode == 2
    assert "no phase is called kernel" in done.stderr
