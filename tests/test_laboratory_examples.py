"""The examples of the laboratory: the label map trains, the Adam paper's claims are checked."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import agnostic_dl as adl

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(path.parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    return module


def test_the_label_map_learns_a_scene(tmp_path, monkeypatch, capsys):
    from PIL import Image

    example = load(EXAMPLES / "label_map.py", monkeypatch)
    share = example.main(["--steps", "150", "--size", "24", "--out", str(tmp_path)])
    assert share > 0.9
    assert "step 150/150" in capsys.readouterr().out
    _, labels = example.scene(24)
    colors = {tuple(int(c[k : k + 2], 16) for k in (1, 3, 5)) for c in example.COLORS[:4]}
    with Image.open(tmp_path / "labels.png") as picture:
        assert picture.size == (96, 96)
        assert {color for _, color in picture.getcolors()} == colors
    assert (labels == 0).mean() < 0.9


def test_the_label_map_of_a_picture(tmp_path, monkeypatch):
    from PIL import Image

    example = load(EXAMPLES / "label_map.py", monkeypatch)
    picture, _ = example.scene(20)
    Image.fromarray((255 * picture).astype(np.uint8)).save(tmp_path / "p.png")
    example.main([str(tmp_path / "p.png"), "--steps", "20", "--out", str(tmp_path / "o")])
    assert len(list((tmp_path / "o").iterdir())) == 3


# -- the Adam paper ------------------------------------------------------------------------------


@pytest.fixture
def paper(monkeypatch):
    return load(EXAMPLES / "adam_paper" / "run.py", monkeypatch)


def test_claims_hold_and_fail_where_they_should(paper):
    from experiments import EXPERIMENTS, NESTEROV

    slow = EXPERIMENTS["cnn"].claims[0].check
    good = {
        "adagrad": [1.0, 0.9, 0.8, 0.79],
        "adam": [1.1, 0.9, 0.8, 0.4],
        NESTEROV: [1, 1, 1, 0.5],
    }
    assert slow(good)[0]
    assert not slow({**good, "adam": [1.1, 0.9, 0.8, 0.78]})[0]  # not clearly slower
    assert not slow({**good, "adagrad": [3.0, 3.0, 3.0, 3.0]})[0]  # not fast at first
    not_behind = EXPERIMENTS["cnn"].claims[1].check
    assert not_behind(good)[0]
    assert not not_behind({**good, "adam": [2.0, 2.0, 2.0, 2.0]})[0]
    assert not not_behind({**good, "adam": []})[0]  # diverged


@pytest.mark.parametrize("budget", [0.001, 0.01, 0.1, 1.0])
def test_a_budget_is_the_share_of_the_papers_steps(paper, budget):
    from experiments import EXPERIMENTS, plan

    for experiment in EXPERIMENTS.values():
        own = plan(experiment, budget, 60000)
        steps = own.epochs * (own.limit or 60000)
        wanted = experiment.epochs * 60000 * budget
        floor = own.epochs * 1000  # no fewer images than 1,000
        assert max(wanted * 0.98, floor * 0.98) <= steps <= max(wanted * 1.4, floor * 1.01)
        assert f"{own.epochs} epochs instead of {experiment.epochs}" in own.cuts
    assert plan(EXPERIMENTS["cnn"], 1.0, 50000).limit is None


def test_an_experiment_end_to_end(paper, tmp_path):
    from experiments import EXPERIMENTS

    data = adl.data.load("digits")
    found, note = paper.run(EXPERIMENTS["logistic"], tmp_path, 0.01, data, 1)
    assert "instead of 45" in note
    lines = paper.verdicts(EXPERIMENTS["logistic"], found)
    assert len(lines) == 2
    assert all("Here it " in line for line in lines)
    losses = paper.losses_by_epoch(found)
    assert {label: len(own) for label, own in losses.items()} == dict.fromkeys(losses, 3)
    assert note in (tmp_path / "report.html").read_text().replace("&#x27;", "'")


def test_what_is_not_installed_is_left_out_and_named(paper):
    there, missing = paper.installed(("adam", "momentum:nesterov=true", "not-there"))
    assert there == ["adam", "momentum:nesterov=true"]
    assert missing == ["not-there"]


def test_absent_data_are_named(paper, monkeypatch, tmp_path):
    monkeypatch.setenv("AGNOSTIC_DL_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match="--mnist"):
        paper.data_folder("mnist", None)
