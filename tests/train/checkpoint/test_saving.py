"""What a save leaves on the disk, what is not saved, and saves that fail or are killed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from saved_runs import NEWEST, OLDER, contents, manifest_of, trained

import agnostic_dl as adl
from agnostic_dl.errors import CheckpointError, NonFiniteError
from agnostic_dl.train import checkpoint

safetensors_numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")


def test_a_checkpoint_is_one_file_without_code_and_the_one_before_it(problem, small, tmp_path):
    trainer = trained(small, adl.optimizer("sgd"), problem, epochs=1)
    folder = tmp_path / "deep" / "run"
    trainer.save(folder)
    assert [p.name for p in folder.iterdir()] == [NEWEST]
    first = (folder / NEWEST).read_bytes()
    for _ in range(2):
        trainer.fit(problem, epochs=1, batch_size=20)
        trainer.save(folder)
    assert sorted(p.name for p in folder.iterdir()) == [OLDER, NEWEST]
    assert [len(manifest_of(folder / n)["history"]) for n in (OLDER, NEWEST)] == [2, 3]
    assert first != (folder / OLDER).read_bytes()
    manifest = manifest_of(folder / NEWEST)
    assert manifest["optimizer"]["name"] == "sgd"
    assert "agnostic_dl" not in json.dumps(manifest["model"]), "nothing that names a module"
    tensors = safetensors_numpy.load_file(folder / NEWEST)
    assert tensors["model.fc.weight"].tobytes() == trainer.model["fc"].weight.data.tobytes()


def test_a_path_with_the_suffix_is_the_file_itself(problem, small, tmp_path):
    trainer = trained(small, adl.optimizer("sgd"), problem, epochs=1)
    for _ in range(2):
        trainer.save(tmp_path / "net.safetensors")
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["net.previous.safetensors", "net.safetensors"]
    assert contents(adl.Trainer.load(tmp_path / "net.safetensors")) == contents(trainer)


def test_weights_that_are_not_finite_are_not_saved(two):
    run, _ = two
    trainer = adl.Trainer.load(run)
    before = contents(trainer)
    trainer.model["fc"].bias.data = trainer.model["fc"].bias.data + np.float32(np.inf)
    with pytest.raises(NonFiniteError, match=r"'fc\.bias'.*not saved"):
        trainer.save(run)
    assert contents(adl.Trainer.load(run)) == before


def test_a_rate_that_is_a_function_cannot_be_saved_and_writes_nothing(problem, small, tmp_path):
    optimizer = adl.optimizer("sgd", learning_rate=lambda step: 0.1 / step)
    trainer = trained(small, optimizer, problem, epochs=1)
    with pytest.raises(CheckpointError, match="use a schedule"):
        trainer.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_json_cannot_hold_is_refused_before_anything_is_written(problem, small, run):
    trainer, before = adl.Trainer.load(run), (run / NEWEST).read_bytes()
    trainer.info["bad"] = object()
    with pytest.raises(CheckpointError, match=r"no plain data.*trainer\.info"):
        trainer.save(run)
    assert (run / NEWEST).read_bytes() == before


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_failed_save_leaves_the_old_checkpoint(run, problem, small, monkeypatch, call):
    before = adl.Trainer.load(run)
    newer = trained(small, adl.optimizer("adam"), problem, epochs=2)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"agnostic_dl.train.storage.os.{call}", full)
    with pytest.raises(CheckpointError, match=r"safetensors: .* of [\d,]+ bytes .*no space left"):
        newer.save(run)
    monkeypatch.undo()
    assert contents(adl.Trainer.load(run)) == contents(before)
    assert [p.name for p in run.iterdir()] == [NEWEST]


def test_without_hard_links_there_are_two_generations_all_the_same(two, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    run, _ = two
    trainer = adl.Trainer.load(run)
    newest = (run / NEWEST).read_bytes()
    monkeypatch.setattr("agnostic_dl.train.storage.os.link", refuse)
    trainer.save(run)
    assert (run / OLDER).read_bytes() == newest
    assert contents(adl.Trainer.load(run)) == contents(trainer)


def test_a_link_in_the_place_of_the_partial_file_is_not_followed(two, tmp_path):
    run, _ = two
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (run / f"{NEWEST}.partial").symlink_to(victim)
    adl.Trainer.load(run).save(run)
    assert victim.read_text() == "mine"
    assert sorted(p.name for p in run.iterdir()) == [OLDER, NEWEST]


def test_a_save_killed_between_its_renames_is_brought_to_its_end(two):
    run, _ = two
    newest, older = (run / NEWEST).read_bytes(), (run / OLDER).read_bytes()
    (run / f"{NEWEST}.replaced").write_bytes(newest)  # its second name, the new file in its place
    (run / NEWEST).write_bytes(older)
    (run / f"{NEWEST}.partial").write_bytes(b"half")
    checkpoint.sweep(run)
    assert sorted(p.name for p in run.iterdir()) == [OLDER, NEWEST]
    assert (run / OLDER).read_bytes() == newest


def test_a_save_killed_before_its_renames_is_forgotten(two):
    run, _ = two
    newest, older = (run / NEWEST).read_bytes(), (run / OLDER).read_bytes()
    (run / f"{NEWEST}.replaced").hardlink_to(run / NEWEST)
    checkpoint.sweep(run)
    assert sorted(p.name for p in run.iterdir()) == [OLDER, NEWEST]
    assert [(run / OLDER).read_bytes(), (run / NEWEST).read_bytes()] == [older, newest]
