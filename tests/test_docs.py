"""The documentation's Python runs, and the README's commands name what exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    "README.md", "docs/guide.md", "docs/checkpoints.md", "docs/laboratory.md", "docs/notation.md",
    "docs/autodiff.md", "docs/programs.md", "docs/precision.md",
]  # fmt: skip


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "__docs__"}
    found = blocks(page, "python")
    assert found, f"{page} has no Python to run"
    for block in found:
        exec(compile(block, page, "exec"), names)


DOCS = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *DOCS])
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    local = [t for t in targets if "://" not in t]
    missing = [t for t in local if not (ROOT / page).parent.joinpath(t).exists()]
    assert not missing


def test_readme_installs_every_first_party_plugin_that_it_tests():
    command = next(b for b in blocks("README.md", "sh") if "pytest" in b)
    folders = {path.parent.name for path in (ROOT / "plugins").glob("*/pyproject.toml")}
    named = set(re.findall(r"\./plugins/([\w-]+)", command))
    assert named == folders
