"""Running the command line in this process, in a folder of its own; helpers lie beside."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from agnostic_dl.cli import artefacts, main

sys.path.insert(0, str(Path(__file__).parent))


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AGNOSTIC_DL_BACKEND", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def call(*arguments: object) -> Result:
        code = main([str(argument) for argument in arguments])
        return Result(code, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: digits, linear, one epoch. Not to be written to."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", "digits", "-m", "linear", "-e", "1", "-q", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def class_folders(tmp_path: Path) -> Callable[..., Path]:
    """Write <name>/<class>/<k>.png of noise; returns the folder."""

    def make(name: str, classes=("cat", "dog"), count: int = 5, shape=(6, 8, 3)) -> Path:
        noise = np.random.default_rng(0)
        for label in classes:
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for k in range(count):
                image = noise.integers(0, 256, shape, dtype=np.uint8)
                Image.fromarray(image).save(folder / f"{k}.png")
        return tmp_path / name

    return make


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes the most time in a short run, where the test is about something else."""
    monkeypatch.setattr(artefacts, "write_all", lambda *_: None)
