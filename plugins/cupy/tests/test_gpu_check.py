"""The command that needs a GPU is rehearsed here, so that GPU time does not end at a typo."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
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


@pytest.fixture
def tool(monkeypatch):
    """The command as a module."""
    monkeypatch.syspath_prepend(str(TOOL.parent))
    return importlib.reload(importlib.import_module("gpu_check"))


def test_the_caps_fit_into_ten_minutes_and_every_phase_has_one(tool, monkeypatch):
    assert max(tool.TOGETHER.values()) + sum(tool.ALONE.values()) <= tool.TOTAL <= 590
    assert set(importlib.import_module("gpu_phases").PHASES) == set(tool.CAPS)


@needs_bfloat16
def test_every_phase_is_rehearsed(tmp_path, tool):
    done = check("--dry", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    for name, status in summary.items():
        record = json.loads((tmp_path / f"{name}.json").read_text())
        assert (record["status"], record["dry"]) == (status, True)
        assert record["seconds"] <= record["cap_seconds"]
    skipped = {"mnist", "suite"} | (set() if has_torch() else {"resnet18_compiled"})
    assert {name for name, status in summary.items() if status == "skipped"} == skipped
    assert {name for name, status in summary.items() if status == "ok"} == set(tool.CAPS) - skipped


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


def test_what_is_not_a_number_agrees_with_nothing(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOL.parent))
    bench, training = (importlib.import_module(f"gpu_checks.{n}") for n in ("bench", "training"))
    nan = float("nan")
    with pytest.raises(AssertionError, match="both were NaN"):
        bench.agree([1.0, nan], [1.0, nan], rtol=1.0, name="both were NaN")
    for gap in (bench.largest([0.0, nan]), training._gap([1.0, nan], [1.0, 1.0])):
        with pytest.raises(AssertionError, match="off by more"):
            bench.within({"gap": gap}, "float32")
    bench.within({"gap": bench.largest([0.0, 1e-7])}, "float32")


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
        assert 'ratio"' not in json.dumps(result)
        if name == "convolution_speed":
            assert result["tuned"] == "6 of 6"
            assert json.dumps(result).count('"tuned seconds"') == 6


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


def test_asvs_suite_runs_where_git_has_left_nothing_too(tool, monkeypatch, tmp_path):
    """As on a machine that the working tree was copied to."""
    pytest.importorskip("asv", reason="asv is not installed")
    if host_has_gpu() or shutil.which("git") is None:
        pytest.skip("a GPU is here: the suite would run; or git is not")
    environment = importlib.import_module("gpu_checks.environment")
    shutil.copytree(TOOL.parents[1] / "asv_benchmarks", tmp_path / "asv_benchmarks")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(AssertionError, match=r"(?s)skipped: Skip.'cupy: .*no benchmark was measur"):
        environment.suite(SimpleNamespace(dry=False))


#: What phases may do, as scripts in their place.
SCRIPTS = {
    "good": "print('{\"found\": 1}'); print('goodbye from a library')",
    "slow": "print('{\"bfloat16\": {\"aims\": {\"ratio\": 1}, \"missed\": [\"ratio\"]}}')",
    "absent": "print('{\"skipped\": \"there is no device\"}')",
    "raises": "print('{\"so far\": {\"half\": 1}}', flush=True); import nothing_of_that_name",
    "dies": "import os; os.abort()",
    "silent": "pass",
    # Its child keeps the output open, and must not live on.
    "hangs": "import subprocess, sys, time; print('{\"so far\": [1, 2]}', flush=True)\n"
             "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
             "open(sys.argv[1], 'w').write(str(child.pid)); time.sleep(60)",
    "noise": "import sys; sys.stdout.buffer.write(bytes([255, 10])); print('[1]'); print('nan')",
}  # fmt: skip


def run_scripts(tool, monkeypatch, folder, alone=(), total=200.0):
    """The command with these scripts as its phases; what it returned and wrote."""
    caps = {name: 8 if name == "hangs" else 50 for name in SCRIPTS}
    monkeypatch.setattr(tool, "TOGETHER", {n: c for n, c in caps.items() if n not in alone})
    monkeypatch.setattr(tool, "ALONE", {n: c for n, c in caps.items() if n in alone})
    monkeypatch.setattr(tool, "CAPS", caps)
    monkeypatch.setattr(tool, "TOTAL", total)
    monkeypatch.setattr(tool.Run, "command", lambda self, name: [
        sys.executable, "-c", SCRIPTS[name], str(folder / "child")
    ])  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--out", str(folder)])
    code = tool.main()
    records = {n: json.loads((folder / f"{n}.json").read_text()) for n in SCRIPTS}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary == {name: record["status"] for name, record in records.items()}
    return code, records


@pytest.mark.parametrize("alone", [(), tuple(SCRIPTS)], ids=["together", "alone"])
def test_whatever_becomes_of_a_phase_the_others_findings_are_kept(
    alone, tool, monkeypatch, tmp_path, capsys
):
    code, records = run_scripts(tool, monkeypatch, tmp_path, alone)
    assert code == 1
    assert {n: r["status"] for n, r in records.items()} == {
        "good": "ok", "slow": "ok", "absent": "skipped", "raises": "failed", "dies": "failed",
        "silent": "failed", "hangs": "timed out", "noise": "failed",
    }  # fmt: skip
    assert records["good"]["result"] == {"found": 1}
    assert records["raises"]["so far"] == {"half": 1}
    assert records["hangs"]["so far"] == [1, 2]
    said = capsys.readouterr().out
    assert "raises: ModuleNotFoundError: No module named 'nothing_of_that_name'" in said
    assert "slow: short of the aim in ratio" in said
    assert said.splitlines()[-1].startswith("3 of 8 phases passed")
    child = int((tmp_path / "child").read_text())
    assert any(is_gone(child) or time.sleep(0.05) for _ in range(100))


def is_gone(process):
    """Whether it has ended; one that nobody has asked after yet is still listed, as a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_there_is_no_time_for_is_not_begun_and_no_success(tool, monkeypatch, tmp_path):
    code, records = run_scripts(tool, monkeypatch, tmp_path, total=0.0)
    assert code == 1
    assert {r["status"] for r in records.values()} == {"not begun"}


def test_a_phase_that_ends_well_is_no_failure(tool, monkeypatch, tmp_path):
    for name in [name for name in SCRIPTS if name not in ("good", "slow", "absent")]:
        monkeypatch.delitem(SCRIPTS, name)
    assert run_scripts(tool, monkeypatch, tmp_path)[0] == 0


def test_an_unknown_phase_is_refused(tmp_path):
    done = check("--dry", "--out", str(tmp_path), "--only", "kernel")
    assert done.returncode == 2
    assert "no phase is called kernel" in done.stderr
