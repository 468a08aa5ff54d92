"""The commands of plugin authors: plugins list and doctor, check-plugin, new-plugin."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from agnostic_dl import errors, plugins, scaffold
from agnostic_dl.cli import main


@pytest.fixture
def cli(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_list_shows_everything_and_the_import_times_that_the_doctor_measured(cli, site, broken):
    site.install("lion-pkg", "roar")
    code, out, _ = cli("plugins", "list")
    assert code == 0
    row = next(line for line in out.splitlines() if "roar" in line)
    assert row.split() == ["roar", "optimizer", "lion-pkg", "1.2.3", "found", "–"]
    assert "incompatible: written for plugin API 99" in out
    assert cli("plugins", "doctor", "roar")[0] == 0
    row = next(line for line in cli("plugins", "list")[1].splitlines() if "roar" in line)
    assert row.split()[-1] == "ms"


def test_doctor_prints_cause_and_cure_and_ends_with_1(cli, site, broken):
    site.install("lion-pkg", "roar")
    code, out, err = cli("plugins", "doctor", "--time-limit", 4)
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 120
    assert "✓ optimizer 'roar' (lion-pkg 1.2.3): works" in lines
    for cause in broken.values():
        at = next(i for i, line in enumerate(lines) if cause in line)
        assert lines[at].startswith("✗ ")
        assert lines[at + 1].startswith("  cure: ")
    assert "Traceback" not in out
    code, out, _ = cli("plugins", "doctor", "raises", "--verbose")
    assert "Traceback" in out
    assert "the hook is ill" in out


def test_check_plugin_prints_a_report(cli, tmp_path):
    code, out, _ = cli("check-plugin", "sgd")
    assert code == 0
    assert "✓ convergence: a quadratic" in out
    claim = {"param": [1.0], "grads": [[1.0]], "params": [[0.5]]}
    (tmp_path / "claim.json").write_text(json.dumps(claim))
    code, out, _ = cli("check-plugin", "sgd", "--reference", tmp_path / "claim.json")
    assert code == 1
    assert "✗ reference: step 1 is off by 4.9e-01" in out


def test_check_plugin_of_a_name_that_nobody_has(cli):
    code, _, err = cli("check-plugin", "nobody")
    assert code in (1, 2)
    assert "no plugin 'nobody' is installed. Installed: " in err


KINDS = {"optimizer": "my-rule", "backend": "my-arrays", "kernels": "numpy.mine"}


def put_on_path(site, folder: Path) -> None:
    """What pip does with the package: its modules and its metadata, from its pyproject.toml."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = site.folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for module in (folder / "src").iterdir():
        module.rename(site.folder / module.name)
    plugins.refresh()


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_and_trains_as_it_comes(kind, cli, site, tmp_path, monkeypatch):
    name = KINDS[kind]
    code, out, _ = cli("new-plugin", kind, name, "--into", tmp_path)
    assert code == 0
    folder = tmp_path / f"agnostic-dl-{name.rpartition('.')[2]}"
    for file in ("pyproject.toml", "README.md", "LICENSE", ".github/workflows/test.yml"):
        assert (folder / file).read_text().strip()
    commands = [line.strip() for line in out.splitlines()[-3:]]
    assert commands[0] == f"pip install -e {folder}"
    test = next((folder / "tests").glob("test_*.py"))
    put_on_path(site, folder)
    for command in commands[1:]:
        arguments = command.split()[1:]
        if arguments[0] == "train":
            arguments += ["--epochs", "1", "--model", "linear", "--out", str(tmp_path / "run")]
        code, out, err = cli(*arguments)
        assert code == 0, (out, err)
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    assert pytest.main([str(test), *options, "-c", str(folder / "pyproject.toml")]) == 0


@pytest.mark.parametrize(
    ("kind", "name"),
    [("layer", "x"), ("optimizer", "My Rule"), ("optimizer", "class"), ("kernels", "mine"),
     ("optimizer", "-x"), ("backend", "a.b")],
)  # fmt: skip
def test_names_that_cannot_be_packages_are_refused(kind, name, tmp_path):
    with pytest.raises(errors.UsageError):
        scaffold.new_plugin(kind, name, tmp_path)


def test_nothing_is_written_over(tmp_path):
    scaffold.new_plugin("optimizer", "my-rule", tmp_path)
    with pytest.raises(errors.UsageError, match="not empty"):
        scaffold.new_plugin("optimizer", "my-rule", tmp_path)
