"""The committed trajectories, and the recipe that made them."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).parent
RECIPE = runpy.run_path(str(HERE / "make_reference.py"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every case of the table for each test that asks for one."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", list(RECIPE["CASES"]))


@pytest.fixture(scope="session")
def recipe() -> SimpleNamespace:
    """The names of make_reference.py."""
    return SimpleNamespace(**RECIPE)


@pytest.fixture(scope="session")
def trajectories() -> dict:
    """Case → dtype → step → the parameters after it, as exact hexadecimal floats."""
    return json.loads((HERE / "reference.json").read_text())["trajectories"]
