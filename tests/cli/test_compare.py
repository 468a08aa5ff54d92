"""`compare` and `train --xray` on the command line."""

from __future__ import annotations

import json

import pytest

import agnostic_dl as adl
from agnostic_dl.cli import run_folder

QUICK = ("compare", "digits", "--model", "linear", "--epochs", 1, "--seeds", 1, "--trials", 1,
         "--limit", 300, "--workers", 1)  # fmt: skip


def test_a_comparison_prints_a_ranking_and_leaves_a_report(cli, own_folder):
    result = cli(*QUICK, "--optimizers", "sgd,adam:beta1=0.8,beta2=0.99")
    assert result.code == 0, result.err
    folder = own_folder / "runs/digits-linear-compare"
    assert "test accuracy" in result.out
    assert "adam:beta1=0.8,beta2=0.99" in result.out
    assert "validation loss" in result.out
    names = {path.name for path in folder.iterdir()}
    assert {"report.html", "ranking.csv", "curves.csv", "runs.csv", "comparison.json"} <= names
    assert not list((folder / "jobs").glob("*/"))  # no checkpoint is left


def test_it_is_resumed_and_never_overwritten_unasked(cli, own_folder):
    assert cli(*QUICK, "-o", "sgd", "--out", "c", "-q").code == 0
    refused = cli(*QUICK, "-o", "sgd", "--out", "c", "-q")
    assert refused.code == 2
    assert "--resume" in refused.err
    before = [path.stat().st_mtime_ns for path in sorted((own_folder / "c/jobs").iterdir())]
    assert cli(*QUICK, "-o", "sgd", "--out", "c", "-q", "--resume").code == 0
    after = [path.stat().st_mtime_ns for path in sorted((own_folder / "c/jobs").iterdir())]
    assert before == after
    assert cli(*QUICK, "-o", "sgd", "--out", "c", "-q", "--overwrite").code == 0


def test_it_is_resumed_in_its_own_precision_only(cli, own_folder):
    assert cli(*QUICK, "-o", "sgd", "--out", "plain", "-q").code == 0
    assert cli(*QUICK, "-o", "sgd", "--out", "c", "-q", "--precision", "float16").code == 0
    jobs = {path: path.stat().st_mtime_ns for path in (own_folder / "c/jobs").iterdir()}
    for folder, other, words in (
        ("c", "bfloat16", "--precision float16, not bfloat16"),
        ("plain", "float16", "--precision (its default), not float16"),
    ):
        refused = cli(*QUICK, "-o", "sgd", "--out", folder, "-q", "--resume", "--precision", other)
        assert refused.code == 2
        assert words in " ".join(refused.err.split())
    for given in ((), ("--precision", "float16")):
        assert cli(*QUICK, "-o", "sgd", "--out", "c", "-q", "--resume", *given).code == 0
        assert jobs == {path: path.stat().st_mtime_ns for path in (own_folder / "c/jobs").iterdir()}
    settings = json.loads((own_folder / "c/comparison.json").read_text())["settings"]
    assert settings["precision"] == "float16"
    assert cli(*QUICK, "-o", "sgd", "--out", "plain", "-q", "--resume").code == 0


def test_ctrl_c_says_what_is_kept(cli, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("agnostic_dl.train.lab.pool.run_job", interrupt)
    result = cli(*QUICK, "-o", "sgd", "--out", "c")
    assert result.code == 130
    assert "--resume" in result.err


def test_json(cli):
    result = cli(*QUICK, "-o", "adam", "-l", 0.01, "--seed", 5, "--json", "--out", "c")
    found = json.loads(result.out)
    assert found["ranking"][0]["learning_rate"] == 0.01


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-o", "adma"), "Did you mean 'adam'"),
        (("--model", "lnet"), "lenet"),
        (("--schedule", "none"), "inverse-sqrt"),
        (("--limit", "3"), "limit"),
    ],
)
def test_wrong_use(cli, own_folder, arguments, words):
    result = cli(*QUICK, *arguments)
    assert result.code == 2
    assert words in result.err
    assert not (own_folder / "runs").exists()


def test_train_with_an_xray(cli, own_folder):
    quick = ("train", "digits", "-m", "linear", "-e", 2, "-q", "--xray", "--out", "r")
    assert cli(*quick).code == 0
    names = {path.name for path in (own_folder / "r").iterdir()}
    assert names == {*run_folder.CONTENTS, *run_folder.XRAYED, "figures"}
    found = adl.diagnose("r")
    assert found.info["settings"]["model"] == "linear"
    assert found.info["versions"]["agnostic-dl"] == adl.__version__
    assert [row["epoch"] for row in found.info["history"]] == [1, 2]
    assert cli(*quick[:4], "-e", 3, "-q", "--xray", "--out", "r", "--resume").code == 0
    assert [int(step) for step, _ in adl.diagnose("r").losses] == list(range(1, 37))
    assert cli(*quick, "--overwrite").code == 0
    assert len(adl.diagnose("r").losses) == 24
    assert cli(*quick[:4], "-e", 1, "-q", "--out", "r", "--overwrite").code == 0
    assert not (own_folder / "r/xray.json").exists()
    assert not list((own_folder / "r/figures").iterdir())


def test_find_learning_rate(cli, own_folder):
    result = cli("find-learning-rate", "digits", "-m", "linear", "--steps", 40, "--out", "p.png")
    assert result.code == 0, result.err
    suggestion = float(result.out.split("suggested learning rate ")[1].split(";")[0])
    assert 1e-4 < suggestion < 1
    assert (own_folder / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert cli("find-learning-rate", "digits", "--first", 1, "--last", 0.1).code == 2


def test_a_comparison_in_float16(cli, own_folder):
    assert cli(*QUICK, "-o", "sgd", "--precision", "float16", "--out", "c", "-q").code == 0
    assert cli(*QUICK, "-o", "sgd", "--out", "plain", "-q").code == 0
    found, plain = (
        json.loads((own_folder / name / "comparison.json").read_text()) for name in ("c", "plain")
    )
    assert found["settings"]["precision"] == "float16"
    assert plain["settings"]["precision"] is None
    assert found["ranking"][0]["train_loss"] != plain["ranking"][0]["train_loss"]
    assert found["ranking"][0]["train_loss"] == pytest.approx(
        plain["ranking"][0]["train_loss"], rel=0.01
    )
