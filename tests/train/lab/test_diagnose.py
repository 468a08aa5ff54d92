"""`diagnose` of an X-ray, of a folder, of a run without an X-ray, and of what is none."""

from __future__ import annotations

import csv
import json

import pytest

import agnostic_dl as adl
from agnostic_dl.errors import CheckpointError, DataError, UsageError
from agnostic_dl.train import XRay


@pytest.fixture(scope="module")
def seen():
    data = adl.data.load("digits")
    model = adl.models.create("lenet", input_shape=(8, 8, 1), classes=10)
    xray = XRay(every=5)
    trainer = adl.Trainer(model, adl.optimizer("adam", learning_rate=3e-3))
    trainer.fit(data, data, epochs=3, callbacks=[xray])
    return trainer, xray


def test_phases_in_words_and_numbers(seen):
    found = adl.diagnose(seen[1])
    names = [row["phase"] for row in found.phases]
    assert names[:2] == ["warm-up", "descent"]
    assert found.phases[0]["first_step"] == 1
    assert found.phases[-1]["last_step"] == 36
    for row in found.phases:
        assert f"{row['gradient_norm']:.3g}" in row["summary"]
        assert f"{row['loss_before']:.4g}" in row["summary"]
    assert "Adam" in str(found)
    assert "adagrad (cosine" in str(found)


def test_series(seen):
    found = adl.diagnose(seen[1])
    series = found.series("step_over_rate_p50")
    assert series[0] == (1, pytest.approx(1.0, rel=1e-3))
    assert [step for step, _ in found.series("update_norm", "conv1.weight")] == [
        *range(1, 11), 15, 20, 25, 30, 35
    ]  # fmt: skip
    with pytest.raises(UsageError, match="gradient_norm"):
        found.series("gradient_nrom")


def test_a_record_and_a_file_are_the_same(seen, tmp_path):
    record = json.loads(json.dumps(seen[1].record()))
    (tmp_path / "xray.json").write_text(json.dumps(record))
    texts = {str(adl.diagnose(run)) for run in (seen[1], record, tmp_path, tmp_path / "xray.json")}
    assert len(texts) == 1


def test_files(seen, tmp_path):
    found = adl.diagnose(seen[1])
    page = found.write(tmp_path)
    assert page.read_text().count("<svg ") == len(list((tmp_path / "figures").iterdir()))
    with open(tmp_path / "xray.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.rows)
    assert float(rows[0]["gradient_norm"]) == pytest.approx(
        found.rows[0]["gradient_norm"], rel=1e-5
    )


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "sgd"])
def test_a_run_without_an_xray(tmp_path, optimizer):
    data = adl.data.load("digits")
    model = adl.models.create("linear", input_shape=(8, 8, 1), classes=10)
    trainer = adl.Trainer(model, optimizer)
    trainer.fit(data, epochs=3)
    trainer.save(tmp_path)
    found = adl.diagnose(tmp_path)
    assert found.phases[0]["first_step"] == 12
    assert "not X-rayed" in str(found)
    expected = {"adam": "m_over_sqrt_v_p50", "adagrad": "denominator_p50", "sgd": "weight_norm"}
    layer = next(row for row in found.rows if row["parameter"] == "fc.weight")
    assert layer[expected[optimizer]] > 0
    assert found.write(tmp_path / "page").is_file()


def test_what_is_no_run(tmp_path):
    with pytest.raises(UsageError, match="XRay"):
        adl.diagnose(3)
    with pytest.raises(CheckpointError):
        adl.diagnose(tmp_path)
    (tmp_path / "xray.json").write_text("[]")
    with pytest.raises(DataError, match="not a readable X-ray"):
        adl.diagnose(tmp_path)
    with pytest.raises(DataError, match="damaged"):
        adl.diagnose({"rows": []})
