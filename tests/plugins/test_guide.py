"""The authors' guide: its Python runs, its commands work in order, its tables are complete."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from agnostic_dl import plugins
from agnostic_dl.cli import main
from agnostic_dl.testing import backends, optimizers

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)


def test_the_python_runs_in_order(capsys):
    names: dict = {"__name__": "guide"}
    sys.modules["guide"] = type(sys)("guide")  # dataclasses look their module up
    for block in blocks("python"):
        exec(compile(block, "docs/plugins.md", "exec"), names)
    del sys.modules["guide"]


def pip_install(site, folder: Path) -> None:
    """What `pip install -e` does: the modules on the path, the metadata of its pyproject.toml."""
    import tomllib

    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = site.folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    sys.path.insert(1, str(folder / "src"))
    plugins.refresh()


@pytest.mark.parametrize("block", blocks("sh"), ids=lambda block: block.split("\n")[0][:50])
def test_the_commands_work_in_their_order(block, site, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    if block.startswith("python -m pytest"):  # goes on from the first block
        block = "\n".join([*blocks("sh")[0].splitlines()[:2], block])
    for line in block.splitlines():
        program, *arguments = shlex.split(line)
        if program == "pip":
            assert arguments[:2] == ["install", "-e"]
            pip_install(site, Path(arguments[2]))
        elif program == "python":
            assert arguments[:2] == ["-m", "pytest"]
            options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
            folder = arguments[2]
            assert pytest.main([*arguments[2:], *options, "-c", f"{folder}/pyproject.toml"]) == 0
        else:
            assert program == "agnostic-dl"
            assert main(arguments) == 0, capsys.readouterr()


def test_the_tables_name_every_rule_group_and_hook():
    for rule in set(optimizers.RULES) - set(optimizers.REPORTED) | set(backends.RULES):
        assert f"| {rule} |" in GUIDE, rule
    for kind, group in plugins.GROUPS.items():
        assert f"`{group}`" in GUIDE
        assert f"`{plugins.HOOKS[kind]}(" in GUIDE
    for state in ("found", "loaded", "failed", "blocked", "incompatible"):
        assert f"| {state} |" in GUIDE
