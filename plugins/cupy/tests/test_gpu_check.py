"""The command that needs a GPU is rehearsed here, so that GPU time does not end at a typo."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import agnostic_dl as adl
from agnostic_dl_cupy.rehearsal import host

TOOL = Path(__file__).parents[3] / "tools" / "gpu_check.py"
pytestmark = [
    pytest.mark.skipif(host.missing() is not None, reason=str(host.missing())),
    pytest.mark.skipif(not TOOL.exists(), reason="the tools are not beside this plugin"),
]  # fmt: skip


#: What is to be rehearsed computes in bfloat16 as well; with CuPy, its extras bring the dtype.
needs_bfloat16 = pytest.mark.skipif(
    importlib.util.find_spec("ml_dtypes") is None,
    reason="ml_dtypes is absent: NumPy has no bfloat16 to rehearse with",
)


def check(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=900, env={**os.environ, **environment}
    )


def phases() -> set[str]:
    (caps,) = (node for node in ast.parse(TOOL.read_text()).body
               if isinstance(node, ast.Assign) and node.targets[0].id == "CAPS")  # fmt: skip
    found: dict[str, int] = ast.literal_eval(caps.value)
    assert sum(found.values()) <= 590
    return set(found)


@needs_bfloat16
def test_every_phase_is_rehearsed(tmp_path):
    done = check("--dry", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    for name, status in summary.items():
        record = json.loads((tmp_path / f"{name}.json").read_text())
        assert (record["status"], record["dry"]) == (status, True)
        assert record["seconds"] <= record["cap_seconds"]
    skipped = {"mnist", "suite"} | (set() if has_torch() else {"resnet18_compiled"})
    assert {name for name, status in summary.items() if status == "skipped"} == skipped
    assert {name for name, status in summary.items() if status == "ok"} == phases() - skipped


def test_only_a_dtype_that_is_missing_is_not_available(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOL.parent))
    steps = importlib.import_module("gpu_checks.steps")

    def fails(**options):
        raise adl.errors.UsageError("something else")

    def problem(*dtypes):
        backend = SimpleNamespace(name="there", dtypes=dict.fromkeys(dtypes))
        return SimpleNamespace(bench=SimpleNamespace(backend=backend), ours=fails)

    with pytest.raises(steps.Unavailable, match="'there' has no bfloat16"):
        steps._ours(problem("float32"), short=True)
    with pytest.raises(adl.errors.UsageError, match="something else"):
        steps._ours(problem("float32", "bfloat16"), short=True)


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


@needs_bfloat16
def test_comparisons_without_pytorch_give_our_times_and_say_that_it_is_absent(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('hidden')")
    only = "adam,convolution_speed,launch_bound"
    done = check(
        "--dry", "--out", str(tmp_path / "out"), "--only", only, PYTHONPATH=str(tmp_path)
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in only.split(","):
        result = json.loads((tmp_path / "out" / f"{name}.json").read_text())["result"]
        assert result["torch"] == "absent"
        assert '"seconds"' in json.dumps(result)
        assert '"ratio"' not in json.dumps(result)


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
