"""Plugin packages made on the spot: dist-info and modules in a folder that is put on the path."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from agnostic_dl import plugins

OPTIMIZER = """
from dataclasses import dataclass
from agnostic_dl.extend import Optimizer, hookimpl

@dataclass(frozen=True)
class Rule(Optimizer):
    learning_rate: float = 0.1

    def update(self, xp, param, grad, state, *, learning_rate):
        return param - learning_rate * grad, state

@hookimpl
def agnostic_dl_optimizers():
    return {NAME: Rule}
"""


class Site:
    """A folder on the path into which packages are put, as pip would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self, distribution: str, name: str, source: str = OPTIMIZER, *, module: str | None = None,
        kind: str = "optimizers", version: str = "1.2.3", api: str | None = None, requires=(),
    ) -> None:  # fmt: skip
        module = module or distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(dedent(source).replace("NAME", repr(name)))
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = [f"Name: {distribution}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, "", "Text"]))
        entries = f"[agnostic_dl.{kind}]\n{name} = {module}\n"
        if api is not None:
            entries += f"\n[agnostic_dl.api]\n{api} = {module}\n"
        (info / "entry_points.txt").write_text(entries)
        plugins.refresh()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = set(sys.modules)
    plugins.refresh()
    yield Site(folder)
    for name in set(sys.modules) - before:
        if str(folder) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    plugins.refresh()


def _broken(site: Site) -> dict[str, str]:
    """Install one plugin of each broken kind; registered name → a word of its diagnosis."""
    site.install("bad-import", "imports", "from math import no_such_name")
    site.install("bad-dependency", "depends", "import a_module_that_nobody_has")
    site.install("bad-syntax", "syntax", "def f(:\n    pass\n")
    wrong = OPTIMIZER.replace("xp, param, grad, state, *", "param, grad, *")
    site.install("bad-signature", "signature", wrong)
    raising = OPTIMIZER.replace("return {NAME: Rule}", "raise RuntimeError('the hook is ill')")
    site.install("bad-hook", "raises", raising)
    site.install("bad-collision-a", "collides")
    site.install("bad-collision-b", "collides")
    site.install("bad-api", "api", api="99")
    site.install("bad-exit", "exits", "import sys\nsys.exit(3)")
    site.install("bad-endless", "endless", "import time\nwhile True: time.sleep(0.05)")
    return {
        "imports": "no_such_name", "depends": "a_module_that_nobody_has", "syntax": "SyntaxError",
        "signature": "expected (self, xp, param, grad, state", "raises": "the hook is ill",
        "collides": "also registered by bad-collision-", "api": "plugin API 99",
        "exits": "SystemExit: 3", "endless": "did not end within",
    }  # fmt: skip


@pytest.fixture
def broken(site: Site) -> dict[str, str]:
    return _broken(site)


@pytest.fixture
def good_source() -> str:
    return OPTIMIZER


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Run code in a fresh interpreter that sees this one's path."""
    import os
    import subprocess

    def run(code: str, **environment: str) -> str:
        path = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run(
            [sys.executable, "-P", "-c", dedent(code)], capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
