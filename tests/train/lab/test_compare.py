"""Comparisons: the same start for all, an equal budget, resumed, in processes, and as files."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import agnostic_dl as adl
from agnostic_dl.errors import UsageError
from agnostic_dl.train.lab import job as jobs
from agnostic_dl.train.lab.job import Job

OPTIONS = {"model": "linear", "seeds": 2, "epochs": 2, "trials": 3, "workers": 1, "limit": 300,
           "batch_size": 32}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    return adl.compare("digits", "sgd,adam", out=folder, xray=True, **OPTIONS), folder


def test_the_same_weights_and_batches_for_all(made):
    found, _ = made
    for seed in (0, 1):
        starts = {
            (row["val_loss"], row["val_accuracy"])
            for row in found.curves
            if row["step"] == 0 and row["seed"] == seed
        }
        assert len(starts) == 1
    xrays = found.xrays
    assert xrays["sgd"]["losses"][0] == xrays["adam"]["losses"][0]


def test_the_budget_is_equal_and_stated(made):
    found, _ = made
    counts = {
        label: sum(r["optimizer"] == label for r in found.search) for label in ("sgd", "adam")
    }
    assert counts == {"sgd": 3, "adam": 3}
    assert found.settings["search_trials"] == 3
    assert found.settings["searched"] == ["sgd", "adam"]
    for label, rate in found.learning_rates.items():
        own = [r for r in found.search if r["optimizer"] == label]
        best = min(own, key=lambda r: r["validation_loss"])
        assert best["learning_rate"] == rate
        assert [r["learning_rate"] for r in own if r["chosen"]] == [rate]


def test_the_ranking_follows_from_the_runs(made):
    found, _ = made
    assert len(found.runs) == 4
    for row in found.ranking:
        own = [r for r in found.runs if r["optimizer"] == row["optimizer"]]
        mean = sum(r["test_accuracy"] for r in own) / 2
        assert row["test_accuracy"] == pytest.approx(mean)
    shares = [row["test_accuracy"] for row in found.ranking]
    assert shares == sorted(shares, reverse=True)
    assert [row["rank"] for row in found.ranking] == [1, 2]
    row = next(r for r in found.ranking if r["steps_to_target"] is not None)
    firsts = [
        min(c["step"] for c in found.curves if c["optimizer"] == row["optimizer"]
            and c["seed"] == seed and c["val_accuracy"] >= found.target)
        for seed in (0, 1)
    ]  # fmt: skip
    assert row["steps_to_target"] == sum(firsts) / 2


def test_a_run_is_the_trainers_own(made):
    """What compare reports is what Trainer.fit does with that rate and seed."""
    found, _ = made
    from agnostic_dl.data.bundle import limited
    from agnostic_dl.data.statistics import channel_statistics

    data = adl.data.load("digits")
    train, _ = adl.data.split(limited(data.train, 300), 0.1)
    model = adl.models.create("linear", input_shape=(8, 8, 1), classes=10,
                              standardize=channel_statistics(train))  # fmt: skip
    rate = found.learning_rates["adam"]
    trainer = adl.Trainer(model, adl.optimizer("adam", learning_rate=rate), seed=1)
    history = trainer.fit(train, epochs=2, batch_size=32)
    run = next(r for r in found.runs if r["optimizer"] == "adam" and r["seed"] == 1)
    assert history["loss"][-1] == run["train_loss"]
    assert trainer.evaluate(data.test)["accuracy"] == run["test_accuracy"]


def test_shadows_are_the_other_contestants_with_their_rates(made):
    found, _ = made
    shadow = found.xrays["sgd"]["about"]["shadows"]["adam"]
    assert shadow["hyperparameters"]["learning_rate"] == found.learning_rates["adam"]
    assert found.diagnose("sgd").phases
    with pytest.raises(UsageError, match="xray=True"):
        found.diagnose("momentum")


def test_processes_give_what_this_one_gives(made):
    found, _ = made
    again = adl.compare("digits", "sgd,adam", xray=True, **{**OPTIONS, "workers": 2})
    assert again.settings["workers"] == 2
    for ours, theirs in zip(found.runs, again.runs, strict=True):
        for name in ("optimizer", "seed", "learning_rate", "steps"):
            assert ours[name] == theirs[name]
        for name in ("train_loss", "validation_loss", "test_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name


def test_finished_runs_are_not_run_again(made, monkeypatch):
    found, folder = made

    def refuse(*_, **__):
        raise AssertionError("it was run again")

    monkeypatch.setattr("agnostic_dl.train.lab.pool.run_job", refuse)
    again = adl.compare("digits", "sgd,adam", out=folder, xray=True, **OPTIONS)
    assert again.runs == found.runs
    with pytest.raises(AssertionError, match="again"):
        adl.compare("digits", "sgd,adam", out=folder, xray=True, **{**OPTIONS, "epochs": 3})


def test_a_job_without_a_precision_is_called_as_before_there_was_one():
    plain = Job("adam", "adam", {}, 0.01, 0, 3, 64, "mlp")
    assert plain.key == "run-adam-0.01-0-192e4414f16f"
    assert len({replace(plain, precision=p).key for p in (None, "float16", "bfloat16")}) == 3


def test_an_interrupted_run_goes_on_from_its_last_epoch(tmp_path, monkeypatch):
    data = adl.data.load("digits")
    parts = {"train": data.train.subset(range(256)), "validation": data.test, "test": data.test}
    job = Job(
        "adam", "adam", {}, 0.01, 0, 3, 64, "mlp", xray=True, shadows={"sgd": {"name": "sgd"}}
    )
    whole = jobs.run_job(job, parts, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(news):
        if news["epoch"] > 1.9:
            raise Stop

    with pytest.raises(Stop):
        jobs.run_job(job, parts, tmp_path / "parts", tell=stop)
    steps = []
    rest = jobs.run_job(
        job, parts, tmp_path / "parts", tell=lambda news: steps.append(news["step"])
    )
    assert min(steps) > 4  # the first epoch was not made again
    for key in ("train_loss", "test", "validation", "steps"):
        assert rest[key] == whole[key]
    drop = {"seconds"}
    for ours, theirs in zip(whole["curve"], rest["curve"], strict=True):
        assert {k: v for k, v in ours.items() if k not in drop} == {
            k: v for k, v in theirs.items() if k not in drop
        }
    assert [s for s, _ in rest["xray"]["losses"]] == list(range(1, 13))


def test_a_third_partys_optimizer_takes_part_by_name(install, tmp_path, monkeypatch):
    """A package as new-plugin writes it, in other processes, in the X-ray and as a shadow."""
    pytest.importorskip("typer", reason="the command line is not installed")
    from agnostic_dl.cli import main

    assert main(["new-plugin", "optimizer", "of-mine", "--into", str(tmp_path)]) == 0
    module = "agnostic_dl_of_mine"
    source = (tmp_path / f"agnostic-dl-of-mine/src/{module}/__init__.py").read_text()
    install("agnostic-dl-of-mine", {"agnostic_dl.optimizers": {"of-mine": module}},
            {module: source})  # fmt: skip
    out = tmp_path / "out"
    options = {**OPTIONS, "seeds": 1, "workers": 2, "xray": True}
    found = adl.compare("digits", "of-mine,adam", out=out, **options)
    assert sorted(found.learning_rates) == ["adam", "of-mine"]
    row = next(r for r in found.ranking if r["optimizer"] == "of-mine")
    assert row["test_accuracy"] > 0.3
    assert "of-mine" in (out / "report.html").read_text()
    whole = [r for r in found.xrays["adam"]["rows"] if r["parameter"] == "*"]
    assert whole[0]["shadow_of-mine_size"] > 0
    assert found.diagnose("of-mine").series("update_norm")[0][1] > 0


def test_a_run_that_diverges_is_ranked_last():
    found = adl.compare("digits", "sgd,adam", learning_rates={"sgd": 1e38, "adam": 0.01},
                        **{**OPTIONS, "seeds": 1})  # fmt: skip
    last = found.ranking[-1]
    assert last["optimizer"] == "sgd"
    assert last["test_accuracy"] is None
    assert found.settings["searched"] == []
    assert "diverged" in str(found)


def test_a_model_of_ones_own_and_an_object():
    from agnostic_dl import nn

    def model():
        return nn.Sequential(flatten=nn.Flatten(), fc=nn.Linear(64, 10))

    own = adl.optimizer("sgd", learning_rate=0.5)
    options = {**OPTIONS, "model": model, "seeds": 1}
    found = adl.compare(adl.data.load("digits"), [own], **options)
    assert found.learning_rates == {"sgd": 0.5}
    assert found.ranking[0]["test_accuracy"] > 0.7


def test_an_error_in_a_process_is_told():
    with pytest.raises(UsageError, match="no hyperparameter 'nothing'"):
        adl.compare("digits", "sgd:nothing=1", **OPTIONS)
    with pytest.raises(adl.errors.AgnosticDLError, match="sgd, learning rate"):
        # found only when the model is built for these images
        adl.compare("digits", "sgd", learning_rate=0.1, **{**OPTIONS, "workers": 2,
                    "model": "adam-paper-cnn"})  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seeds": 0}, "seeds"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"epochs": 0}, "epochs"),
        ({"trials": 0}, "trials"),
        ({"model": "lnet"}, "Did you mean 'lenet'"),
        ({"schedule": "linear"}, "inverse-sqrt"),
        ({"limit": 3}, "limit"),
        ({"learning_rates": {"adma": 1.0}}, "adma"),
        ({"learning_rate": -1.0}, "positive"),
        ({"batch_size": 5000}, "batch_size"),
    ],
)
def test_wrong_arguments(options, words):
    with pytest.raises(UsageError, match=words):
        adl.compare("digits", "sgd", **{**OPTIONS, **options})


# -- files ---------------------------------------------------------------------------------------


class Tables(HTMLParser):
    """The tables of a page by id, as texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.columns: dict[str, list[str]] = {}
        self.cell: list[str] | None = None
        self.name = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "table":
            self.name = found["id"]
            self.tables[self.name] = []
            self.columns[self.name] = found["data-columns"].split(" ")
        if tag == "tr":
            self.tables[self.name].append([])
        if tag in ("td", "th"):
            self.cell = []

    def handle_data(self, data):
        if self.cell is not None:
            self.cell.append(data)

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[self.name][-1].append("".join(self.cell or []))
            self.cell = None


def equal_to_csv(folder: Path) -> int:
    """Compare every table of the page with its CSV file; returns how many numbers were equal."""
    page, count = Tables((folder / "report.html").read_text()), 0
    for name, rows in page.tables.items():
        with open(folder / f"{name}.csv", newline="") as file:
            saved = list(csv.DictReader(file))
        shown = [dict(zip(page.columns[name], row, strict=True)) for row in rows[1:]]
        assert shown == [{c: row[c] for c in page.columns[name]} for row in saved], name
        count += sum(len(row) for row in shown)
    return count


def test_the_pages_numbers_are_the_csv_files(made):
    found, folder = made
    assert equal_to_csv(folder) > 100
    with open(folder / "ranking.csv", newline="") as file:
        saved = list(csv.DictReader(file))
    for row, text in zip(found.ranking, saved, strict=True):
        assert float(text["test_accuracy"]) == pytest.approx(row["test_accuracy"], rel=1e-5)


def test_the_page_needs_nothing_else(made):
    found, folder = made
    text = (folder / "report.html").read_text()
    assert not re.search(r"(?:src|href)=[\"'](?!#|data:)", text)
    assert "<script" not in text
    assert "@import" not in text
    for word in ("sgd", "3 trials of", "Versions", "agnostic-dl", "seeds", "0, 1"):
        assert word in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    pictures = list((folder / "figures").glob("*.png"))
    assert len(pictures) == text.count("<svg ")
    plain = json.loads((folder / "comparison.json").read_text())
    assert plain["ranking"] == found.ranking
