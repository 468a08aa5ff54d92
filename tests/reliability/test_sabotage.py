"""The rows can fail: each is shown a library with the guard that it is about taken out."""

from __future__ import annotations

import hashlib

import pytest

pytest.importorskip("safetensors", reason="safetensors is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")

from reliability_rows import ROWS, Outcome
from reliability_rows.common import fingerprint, trainer

from agnostic_dl.train import archive, checkpoint, health
from agnostic_dl.train.step import TrainStep


def test_without_the_digest_damaged_checkpoints_load(monkeypatch):
    monkeypatch.setattr(archive, "_verify", lambda content: None)
    outcome = ROWS[2].run(False)
    assert len(outcome.failures) > 50


def test_without_the_fallback_damage_is_the_end(monkeypatch):
    plain = checkpoint._read_file

    def read_file(path):
        if ".previous" in path.name:
            raise FileNotFoundError(2, "No such file", str(path))
        return plain(path)

    monkeypatch.setattr(checkpoint, "_read_file", read_file)
    assert not ROWS[2].run(False).passed


def test_without_the_check_of_a_step_bad_numbers_pass(monkeypatch):
    monkeypatch.setattr(health, "require_finite", lambda *_: None)
    assert not ROWS[15].run(False).passed


def test_another_seed_has_another_fingerprint():
    one, other, again = trainer(), trainer(seed=6), trainer()
    for run in (one, other, again):
        _ = run.step  # initialises
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(again)


def test_a_library_that_computes_otherwise_is_noticed(monkeypatch):
    plain = TrainStep.gradients

    def gradients(self, x, y):
        loss, outputs, grads = plain(self, x, y)
        factor = 1 + 1e-3 * (int(hashlib.sha256(self.backend.name.encode()).hexdigest(), 16) % 7)
        return loss, outputs, {name: grad * factor for name, grad in grads.items()}

    monkeypatch.setattr(TrainStep, "gradients", gradients)
    assert not ROWS[16].run(False).passed


def test_a_row_that_tried_nothing_has_not_passed():
    assert not Outcome().passed
    failed = Outcome()
    failed.check(False, "no")
    assert not failed.passed
    assert failed.figure == "0/1"
