"""Checkpoints: what is saved comes back whole, and what is damaged does not come back at all."""

from __future__ import annotations

import json

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn, schedules
from agnostic_dl.errors import CheckpointError, UsageError

pytest.importorskip("safetensors", reason="safetensors is not installed")


def engines():
    """One of every kind of thing that a checkpoint must keep."""
    plateau = schedules.reduce_on_plateau(0.01, patience=0, threshold=10.0)
    return {
        "adam": adl.optimizer("adam", learning_rate=0.01),
        "efficient adam": adl.optimizer("adam", efficient=True, eps=1e-6),
        "warm-up": adl.optimizer("momentum", learning_rate=schedules.linear_warmup(plateau, 3)),
        "engine": adl.optim.Engine(
            adl.optimizer("adagrad", learning_rate=schedules.cosine(0.1, 20)), clip_norm=0.5,
            overrides={"fc.bias": None, "conv*": adl.optimizer("momentum", nesterov=True)},
        ),
    }  # fmt: skip


@pytest.fixture(params=engines())
def engine(request):
    return engines()[request.param]


def contents(trainer):
    """Every bit that decides how training goes on."""
    to_numpy, state = trainer.backend.to_numpy, trainer.step.state
    arrays = {n: to_numpy(a).tobytes() for n, a in trainer.model.state_dict().items()}
    for parameter, slots in state["slots"].items():
        arrays |= {f"{parameter}:{n}": to_numpy(a).tobytes() for n, a in slots.items()}
    return arrays, state["step"], state["schedules"]


def trained(small, engine, problem, epochs=2, **options):
    trainer = adl.Trainer(small(), engine, seed=5, **options)
    trainer.fit(problem, validation=problem, epochs=epochs, batch_size=20)
    return trainer


def test_what_is_saved_comes_back(problem, small, engine, tmp_path):
    trainer = trained(small, engine, problem)
    trainer.info["note"] = {"any": ["plain", 1.5, None]}
    trainer.save(tmp_path / "run")
    again = adl.Trainer.load(tmp_path / "run")
    assert contents(again) == contents(trainer)
    assert (again.seed, again.info, again.history.rows) == (5, trainer.info, trainer.history.rows)
    assert repr(again.model) == repr(trainer.model)
    if isinstance(engine, adl.optim.Engine):
        assert vars(again.optimizer) == vars(engine)
    else:
        assert again.optimizer == engine
    assert again.predict(problem[0]).tobytes() == trainer.predict(problem[0]).tobytes()
    assert again.evaluate(problem) == trainer.evaluate(problem)


def test_resumed_training_equals_the_uninterrupted_run_to_the_bit(problem, small, engine, tmp_path):
    uninterrupted = trained(small, engine, problem, epochs=4)
    trained(small, engine, problem, epochs=2).save(tmp_path)
    resumed = adl.Trainer.load(tmp_path)
    resumed.fit(problem, validation=problem, epochs=2, batch_size=20)
    assert contents(resumed) == contents(uninterrupted)
    for column in ("epoch", "step", "loss", "accuracy", "val_loss", "learning_rate"):
        assert resumed.history[column] == uninterrupted.history[column]


def test_a_run_moves_from_one_backend_to_another(problem, small, tmp_path):
    engine = adl.optimizer("adam")
    trained(small, engine, problem, backend="strict").save(tmp_path)
    again = adl.Trainer.load(tmp_path, backend="numpy")
    assert isinstance(again.model["fc"].weight.data, np.ndarray)
    other = adl.Trainer.load(tmp_path, backend="strict")
    assert contents(again) == contents(other)
    again.fit(problem, epochs=1, batch_size=20)


def test_a_checkpoint_is_two_files_without_code(problem, small, tmp_path):
    trainer = trained(small, adl.optimizer("sgd"), problem, epochs=1)
    for _ in range(2):  # over an older one as well
        trainer.save(tmp_path / "deep" / "run")
    assert sorted(p.name for p in (tmp_path / "deep" / "run").iterdir()) == [
        "model.json", "model.safetensors"
    ]  # fmt: skip
    manifest = json.loads((tmp_path / "deep" / "run" / "model.json").read_text())
    assert manifest["optimizer"]["name"] == "sgd"
    assert "agnostic_dl" not in json.dumps(manifest["model"]), "nothing that names a module"


@pytest.fixture
def run(problem, small, tmp_path):
    trained(small, adl.optimizer("adam"), problem, epochs=1).save(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("place", [0, 9, 500, -1])
def test_a_flipped_bit_in_the_weights_is_found(run, place):
    path = run / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged: its digest"):
        adl.Trainer.load(run)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
@pytest.mark.parametrize("keep", [0, 1, 100, 0.5])
def test_a_cut_file_is_found(run, name, keep):
    path = run / name
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match=name):
        adl.Trainer.load(run)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_missing_file_is_named(run, name):
    (run / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        adl.Trainer.load(run)


def test_weights_of_another_save_are_refused(run, problem, small, tmp_path):
    other = tmp_path / "other"
    trained(small, adl.optimizer("adam"), problem, epochs=2).save(other)
    (run / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="digest"):
        adl.Trainer.load(run)


def test_what_is_no_run_says_what_was_expected(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint here.*Trainer\.save"):
        adl.Trainer.load(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        adl.Trainer.load(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="a file, expected the folder"):
        adl.Trainer.load(tmp_path / "file")


BAD = {
    "format": 99, "model": {"layer": "subprocess.run", "arguments": {}}, "optimizer": {}, "loss": 3,
    "state": None, "metrics": 5, "weights": None, "history": 7, "seed": "x",
}  # fmt: skip


@pytest.mark.parametrize("key", BAD)
@pytest.mark.parametrize("absent", [False, True])
def test_a_manifest_with_a_wrong_entry_is_a_checkpoint_error(run, key, absent):
    manifest = json.loads((run / "model.json").read_text())
    manifest[key] = BAD[key]
    if absent:
        del manifest[key]
    (run / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError):
        adl.Trainer.load(run)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "\xff\xfe", '{"format": 1}'])
def test_a_manifest_that_is_none_is_a_checkpoint_error(run, text):
    (run / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"model\.json|model\.safetensors"):
        adl.Trainer.load(run)


def test_an_optimizer_that_is_not_installed_is_named(run):
    text = (run / "model.json").read_text().replace('"name": "adam"', '"name": "adamax"')
    (run / "model.json").write_text(text)
    with pytest.raises(UsageError, match=r"'adamax'.*Did you mean 'adam'"):
        adl.Trainer.load(run)


def test_layers_of_ones_own_need_the_model_again(problem, tmp_path):
    class Mine(nn.Sequential):
        pass

    def make():
        return Mine(nn.Flatten(), nn.Linear(30, 3))

    trainer = trained(make, adl.optimizer("sgd"), problem, epochs=1)
    trainer.save(tmp_path)
    with pytest.raises(CheckpointError, match=r"Trainer\.load\(path, model=\.\.\.\)"):
        adl.Trainer.load(tmp_path)
    again = adl.Trainer.load(tmp_path, model=make())
    assert contents(again) == contents(trainer)


def test_a_rate_that_is_a_function_cannot_be_saved_and_writes_nothing(problem, small, tmp_path):
    optimizer = adl.optimizer("sgd", learning_rate=lambda step: 0.1 / step)
    trainer = trained(small, optimizer, problem, epochs=1)
    with pytest.raises(CheckpointError, match="use a schedule"):
        trainer.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_failed_save_leaves_the_old_checkpoint(run, problem, small, monkeypatch):
    before = adl.Trainer.load(run)
    newer = trained(small, adl.optimizer("adam"), problem, epochs=2)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agnostic_dl.train.checkpoint.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        newer.save(run)
    monkeypatch.undo()
    assert contents(adl.Trainer.load(run)) == contents(before)
    assert sorted(p.name for p in run.iterdir()) == ["model.json", "model.safetensors"]
