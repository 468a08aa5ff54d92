"""asv's benchmarks run, each at its smallest size, and a run that measured nothing fails."""

from __future__ import annotations

import contextvars
import importlib
import inspect
import json
import math
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "asv_benchmarks"
FILES = sorted(p.stem for p in (SUITE / "benchmarks").glob("*.py") if p.stem != "__init__")
PREFIXES = ("time_", "timeraw_", "peakmem_", "track_")
#: Minutes and processes of their own: compare_peers has a test itself.
SLOW = {"ratios.Ratio"}


def load(name, path):
    spec = spec_from_file_location(name, path)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def suite():
    """The package of benchmarks, under a name of its own; sys.path is put back afterwards."""
    before = list(sys.path)
    load("asv_suite", SUITE / "benchmarks" / "__init__.py").__path__ = [str(SUITE / "benchmarks")]
    yield lambda file: importlib.import_module(f"asv_suite.{file}")
    sys.path[:] = before


def classes(module):
    return [
        c for name, c in inspect.getmembers(module, inspect.isclass)
        if c.__module__ == module.__name__ and not name.startswith("_") and methods(c)
    ]  # fmt: skip


def methods(cls):
    return [name for name in dir(cls) if name.startswith(PREFIXES)]


def choices(cls):
    """Every first parameter (the backend, mostly), with the first, smallest, of the others."""
    params = getattr(cls, "params", ())
    if not params:
        return [()]
    lists = [params] if isinstance(params[0], str) else params
    return [(first, *(others[0] for others in lists[1:])) for first in lists[0]]


def measured(instance, name, parameters):
    """Does what asv does: setup, the benchmark, teardown; a fresh process for timeraw."""
    getattr(instance, "setup", lambda *_: None)(*parameters)
    try:
        found = getattr(instance, name)(*parameters)
        if name.startswith("timeraw_"):
            code, before = found if isinstance(found, tuple) else (found, "")
            subprocess.run([sys.executable, "-c", f"{before}\n{code}"], check=True, timeout=60)
        if name.startswith("track_"):
            assert math.isfinite(found)
            assert found > 0
    finally:
        getattr(instance, "teardown", lambda *_: None)(*parameters)


@pytest.mark.parametrize("file", [file for file in FILES if file != "common"])
def test_each_benchmark_runs_at_its_smallest(suite, file, monkeypatch):
    for name in ("AGNOSTIC_DL_BACKEND", "AGNOSTIC_DL_BLOCK"):
        monkeypatch.delenv(name, raising=False)
    module = suite(file)
    ran, skipped = set(), []
    for cls in classes(module):
        if f"{file}.{cls.__name__}" in SLOW:
            continue
        for parameters in choices(cls):
            for name in methods(cls):
                try:
                    contextvars.copy_context().run(measured, cls(), name, parameters)
                    ran.add((cls.__name__, name))
                except NotImplementedError as reason:
                    skipped.append(f"{cls.__name__}{parameters}: {reason}")
    expected = {(c.__name__, n) for c in classes(module) if f"{file}.{c.__name__}" not in SLOW
                for n in methods(c)}  # fmt: skip
    if file == "ratios" and not ran:
        pytest.skip("; ".join(skipped))
    assert expected
    assert ran == expected, skipped


def test_ratios_fit_what_compare_peers_offers(suite):
    ratios = suite("ratios")
    instance = ratios.Ratio()
    try:
        contextvars.copy_context().run(instance.setup, "S", "numpy", "torch")
    except NotImplementedError as reason:
        pytest.skip(str(reason))
    rows, peers = (suite("common").script(f"peers.{name}") for name in ("rows", "candidates"))
    assert set(ratios.ROWS) <= set(rows.ROWS)
    assert set(ratios.PEERS) <= set(peers.PEERS)
    asked = []

    def compare(key, names, rounds, seconds, threads):
        asked.append((key, names))
        return {"median_ms": {"numpy": 2.0, "torch": 3.0}}

    wanted = inspect.signature(instance.comparing.compare).parameters
    assert list(wanted) == list(inspect.signature(compare).parameters)
    instance.comparing = SimpleNamespace(compare=compare)
    assert instance.track_peer_over_ours("S", "numpy", "torch") == 1.5
    assert asked == [("S", ["numpy", "torch"])]


def test_every_group_has_its_file():
    assert set(FILES) == {
        "common", "training", "passes", "convolution", "optimizers", "overhead", "startup",
        "memory", "discovery", "ratios",
    }  # fmt: skip


def test_every_timed_call_synchronises(suite):
    for file in FILES:
        for cls in classes(suite(file)):
            for name in methods(cls):
                if name.startswith(("time_", "peakmem_")):
                    source = inspect.getsource(getattr(cls, name)).rstrip()
                    assert source.endswith("self.backend.synchronize()"), (file, cls, name)


def test_an_absent_backend_is_skipped_with_its_reason(suite, monkeypatch):
    common = suite("common")
    monkeypatch.setenv("AGNOSTIC_DL_KERNELS", "")
    with pytest.raises(NotImplementedError, match=r"numpy\+kernels: no kernel of a plugin"):
        contextvars.copy_context().run(common.open_backend, "numpy+kernels")
    with pytest.raises(NotImplementedError, match="abacus: no plugin offers this backend"):
        common.open_backend("abacus")


def test_ratios_compare_in_turns(suite):
    calls = []
    ratio = suite("common").ratio_of_medians(
        lambda: calls.append("a"), lambda: calls.append("b"), rounds=3
    )
    assert calls == ["a", "b"] * 4
    assert ratio > 0


# -- a run that measured nothing fails ------------------------------------------------------------


@pytest.fixture(scope="module")
def measure():
    return load("asv_measure", SUITE / "measure.py")


def results(folder, **found):
    """What asv leaves: each benchmark's result, and when it was started, in milliseconds."""
    machine = folder / "box"
    machine.mkdir(parents=True, exist_ok=True)
    (machine / "machine.json").write_text('{"machine": "box"}')
    rows = {name: [result, [], "1", when] for name, (result, when) in found.items()}
    content = {"result_columns": ["result", "params", "version", "started_at"], "results": rows}
    (machine / "12345678-env.json").write_text(json.dumps(content))


def test_figures_are_told_from_skips_and_failures(measure, tmp_path):
    results(tmp_path, a=([0.5, math.nan, None], 2000), b=(None, 2000), c=([0.1], 500))
    assert measure.outcomes(tmp_path) == {"measured": 2, "skipped": 1, "failed": 2}
    assert measure.outcomes(tmp_path, since=1.0) == {"measured": 1, "skipped": 1, "failed": 2}


@pytest.mark.parametrize(
    ("left", "code"),
    [({"a": ([math.nan, math.nan], 9e12)}, 1), ({"a": (None, 9e12)}, 1), ({}, 1),
     ({"a": ([0.1], 0)}, 1), ({"a": ([0.1, math.nan], 9e12)}, 0)],
)  # fmt: skip
def test_a_run_without_figures_fails(measure, tmp_path, monkeypatch, capsys, left, code):
    asked = []
    monkeypatch.setattr(measure, "asv", lambda *words: asked.append(words) or results(
        tmp_path / "results", **left) or 0)  # fmt: skip
    monkeypatch.setattr(measure, "results_folder", lambda command: tmp_path / "results")
    monkeypatch.setattr(measure, "checked_out", lambda: "c0ffee")
    assert measure.main(["run", "-E", "existing"]) == code
    assert asked[-1] == ("run", "-E", "existing", "--show-stderr", "--set-commit-hash", "c0ffee")
    assert ("no benchmark was measured" in capsys.readouterr().err) == bool(code)


def test_a_failure_of_asv_is_passed_on(measure, tmp_path, monkeypatch):
    monkeypatch.setattr(
        measure, "asv", lambda *_: results(tmp_path, a=([0.1], 9e12), b=(None, 9e12)) or 2
    )
    monkeypatch.setattr(measure, "results_folder", lambda command: tmp_path)
    monkeypatch.setattr(measure, "checked_out", lambda: "c0ffee")
    assert measure.main(["run", "HEAD^!"]) == 2


def test_noise_is_the_spread_of_what_every_run_has(monkeypatch):
    monkeypatch.syspath_prepend(SUITE)
    noise = load("asv_noise", SUITE / "noise.py")
    first = {
        "f training.A.time_x 0": 1.0,
        "f training.A.time_x 1": 2.0,
        "f memory.B.peakmem_y 0": 4.0,
    }
    second = {"f training.A.time_x 0": 1.5, "f training.A.time_x 1": 2.0, "f only.C.time_z 0": 9.0}
    found = noise.spreads([first, second])
    assert found == {"training": [(0.0, "training.A.time_x"), (0.5, "training.A.time_x")]}
    assert noise.table(found).splitlines()[1].split()[:8] == [
        "training", "2", "25.0", "%", "50.0", "%", "50.0", "%",
    ]  # fmt: skip


def test_the_wheels_of_a_commit_are_its_own(tmp_path):
    packages = load("asv_packages", SUITE / "packages.py")
    (tmp_path / "plugins" / "only").mkdir(parents=True)
    (tmp_path / "plugins" / "only" / "pyproject.toml").touch()
    (tmp_path / "plugins" / "no package").mkdir()
    assert packages.folders(tmp_path) == [tmp_path, tmp_path / "plugins" / "only"]
    names = {path.name for path in packages.folders(ROOT)}
    assert {"numpy", "optimizers", "onednn", "strict"} <= names
    for name in ("agnostic_dl-1-py3-none-any.whl", "agnostic_dl_numpy-1-py3-none-any.whl"):
        (tmp_path / name).touch()
    assert packages.requirements(tmp_path) == [
        f"{tmp_path}/agnostic_dl-1-py3-none-any.whl[cli]",
        f"{tmp_path}/agnostic_dl_numpy-1-py3-none-any.whl",
    ]
    assert {"agnostic-dl", "agnostic-dl-numpy"} <= set(packages.installed())


# -- asv itself -----------------------------------------------------------------------------------


@pytest.fixture
def run_asv(tmp_path):
    """Calls measure.py or asv in a copy of the settings, which leaves the checkout as it is."""
    if find_spec("asv") is None:
        pytest.skip("asv is not installed")
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no checkout of git")
    config = tmp_path / "asv.conf.json"
    text = (SUITE / "asv.conf.json").read_text()
    text = text.replace('"repo": ".."', f'"repo": {json.dumps(str(ROOT))}')
    benchmarks = json.dumps(str(SUITE / "benchmarks"))
    config.write_text(
        text.replace('"benchmark_dir": "benchmarks"', f'"benchmark_dir": {benchmarks}')
    )

    # asv writes what it knows of the machine to the home folder; git goes on with its settings.
    own = {"HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": str(Path.home() / ".gitconfig")}

    def call(*arguments, **environment):
        return subprocess.run(
            [sys.executable, *arguments, "--config", str(config)], capture_output=True, text=True,
            timeout=120, cwd=tmp_path, env={**os.environ, **own, **environment},
        )  # fmt: skip

    return call


def test_asv_finds_no_fault(run_asv):
    done = run_asv("-m", "asv", "check", "-E", "existing")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No problems found" in done.stdout


def test_asv_run_of_what_cannot_run_fails_and_of_what_can_succeeds(run_asv):
    chosen = ["run", "-E", "existing", "--quick", "-b", r"overhead.Chain.time_forward\b"]
    done = run_asv(str(SUITE / "measure.py"), *chosen, AGNOSTIC_DL_BLOCK="numpy,strict,cupy")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "numpy: no plugin offers this backend" in done.stdout
    assert "0 measured, 4 skipped, 0 failed" in done.stdout
    done = run_asv(str(SUITE / "measure.py"), *chosen)
    assert done.returncode == 0, done.stdout + done.stderr
