"""`train`: what it shows and what it leaves."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from run_files import LINEAR, described, rows

from agnostic_dl.cli import run_folder
from agnostic_dl.train import Trainer, TrainStep, checkpoint


def test_a_run_leaves_everything_and_nothing_half_written(trained):
    left = {path.name for path in trained.iterdir()}
    assert left == {*run_folder.CONTENTS} - {checkpoint.PREVIOUS_NAME}  # after a single epoch
    for name in (run_folder.CURVES, run_folder.CONFUSION_PICTURE, run_folder.MISTAKES):
        with Image.open(trained / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 300
    with open(trained / run_folder.CONFUSION, newline="") as file:
        table = list(csv.reader(file))
    assert len(table) == 11
    assert sum(int(cell) for row in table[1:] for cell in row[1:]) == 359
    assert [row["epoch"] for row in rows(trained)] == ["1"]
    described = json.loads((trained / run_folder.DESCRIPTION).read_text())
    assert described["model"]["layer"] == "Sequential"
    assert described["optimizer"]["name"] == "adam"


@pytest.mark.usefixtures("no_pictures")
def test_without_a_terminal_the_output_is_plain_lines(cli):
    result = cli(*LINEAR, "--epochs", 2, "--out", "r")
    assert result.code == 0
    assert result.err == ""
    assert not any(ord(c) < 32 and c != "\n" for c in result.out)
    lines = result.out.splitlines()
    assert lines[0] == ("digits: 1,438 training and 359 test images, 8×8 grey, 10 classes")
    assert any(line.split() == ["fc", "Linear", "10", "650"] for line in lines)
    start = next(i for i, line in enumerate(lines) if line.split()[:2] == ["epoch", "loss"])
    assert [line.split()[0] for line in lines[start:]] == ["epoch", "1/2", "2/2", "test"]
    assert "images/s" in lines[start]
    assert lines[-1].startswith("test loss")
    assert lines[-1].endswith("run in r")


@pytest.mark.usefixtures("no_pictures")
def test_quiet_prints_one_line(cli):
    result = cli(*LINEAR, "-e", 1, "-q")
    assert len(result.out.splitlines()) == 1
    assert "runs/digits-linear-adam" in result.out


@pytest.mark.usefixtures("no_pictures")
def test_an_earlier_run_is_never_overwritten_unasked(cli, own_folder):
    assert cli(*LINEAR, "-e", 1, "-q").code == 0
    assert cli(*LINEAR, "-e", 1, "-q").code == 0
    assert sorted(p.name for p in (own_folder / "runs").iterdir()) == [
        "digits-linear-adam", "digits-linear-adam-2"
    ]  # fmt: skip
    result = cli(*LINEAR, "--out", "runs/digits-linear-adam")
    assert result.code == 2
    assert "--resume" in result.err
    assert "--overwrite" in result.err


def test_overwrite_removes_only_what_a_run_had_left(cli, own_folder):
    folder = own_folder / "r"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / run_folder.MISTAKES).write_text("old")
    assert cli(*LINEAR, "-e", 1, "-q", "--out", "r", "--overwrite").code == 0
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / run_folder.MISTAKES).read_bytes()[:4] == b"\x89PNG"


def test_out_of_memory_is_one_line_and_keeps_what_was_saved(cli, monkeypatch, own_folder):
    plain = TrainStep.run

    def run(self, x, y):
        if self.count == 20:
            raise MemoryError("Unable to allocate 3.5 GiB for an array")
        return plain(self, x, y)

    monkeypatch.setattr(TrainStep, "run", run)
    result = cli(*LINEAR, "-e", 3, "-q", "--out", "r")
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    for words in (
        "batch of 128 examples of 8×8×1",
        "3.5 GiB",
        "--batch-size",
        "epoch 1 is kept in r",
    ):
        assert words in result.err
    assert len(Trainer.load(own_folder / "r").history) == 1


def test_a_diverging_run_ends_in_one_line(cli, own_folder):
    result = cli("train", "digits", "-o", "sgd", "-l", "1e38", "--out", "r", "-q")
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert "the loss became" in result.err
    assert not (own_folder / "r").exists()


@pytest.mark.usefixtures("no_pictures")
def test_the_network_takes_the_scale_of_the_images(cli, own_folder):
    for flags in ((), ("--no-standardize",)):
        assert cli(*LINEAR, "-e", 1, "-q", "--out", "r", "--overwrite", *flags).code == 0
        layers = described(own_folder / "r")["model"]["layers"]
        assert ("standardize" in layers) == (not flags)


@pytest.mark.usefixtures("no_pictures")
def test_strict_and_numpy_train_alike(cli, own_folder):
    for backend in ("numpy", "strict"):
        result = cli(*LINEAR, "-e", 1, "-q", "--backend", backend, "--out", backend)
        assert result.code == 0, result.err
    losses = [float(rows(own_folder / b)[0]["loss"]) for b in ("numpy", "strict")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
