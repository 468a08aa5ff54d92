"""Checkpoints: what is saved comes back whole, and what is damaged does not come back at all."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn, schedules
from agnostic_dl.errors import (
    CheckpointError,
    CheckpointWarning,
    MissingExtraError,
    NonFiniteError,
    UnknownNameError,
)
from agnostic_dl.train import archive, checkpoint

safetensors_numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")


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


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_model_of_short_floats_comes_back(dtype, problem, small, tmp_path, monkeypatch):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="ml_dtypes is absent")
    trainer = trained(lambda: small().init(0).astype(dtype), adl.optimizer("sgd"), problem)
    trainer.save(tmp_path)
    again = adl.Trainer.load(tmp_path)
    assert {a.dtype.name for a in again.model.state_dict().values()} == {dtype}
    assert contents(again) == contents(trainer)
    for each in (trainer, again):
        each.fit(problem, validation=problem, epochs=1, batch_size=20)
    assert contents(again) == contents(trainer)
    with pytest.raises(CheckpointError, match=rf"is {dtype}, which the backend 'strict' does not"):
        adl.Trainer.load(tmp_path, backend="strict")
    if dtype == "bfloat16":
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
        with pytest.raises(MissingExtraError, match="bfloat16 arrays, which need the ml_dtypes"):
            adl.Trainer.load(tmp_path)


NEWEST, OLDER = "model.safetensors", "model.previous.safetensors"


def manifest_of(path):
    """The manifest as any reader of safetensors finds it: JSON in the header's metadata."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["manifest"])


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


def test_the_manifest_says_what_the_run_was_made_with(run):
    made = manifest_of(run / NEWEST)["made_with"]
    used = {(p["kind"], p["name"]): (p["distribution"], p["version"]) for p in made["plugins"]}
    for kind, name in (("backend", "numpy"), ("optimizer", "adam")):
        info = next(i for i in adl.list_plugins() if (i.kind, i.name) == (kind, name))
        assert used[kind, name] == (info.distribution, info.version)
    assert made["versions"]["numpy"] == np.__version__
    assert made["versions"]["agnostic_dl"] == adl.__version__


@pytest.fixture
def run(problem, small, tmp_path):
    trained(small, adl.optimizer("adam"), problem, epochs=1).save(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def two(problem, small, run):
    """A run saved twice: its folder, and what the older save held."""
    trainer = adl.Trainer.load(run)
    before = contents(trainer)
    trainer.fit(problem, validation=problem, epochs=1, batch_size=20)
    trainer.save(run)
    return run, before


@pytest.mark.parametrize("place", [0, 9, 30, 500, -1])
def test_a_flipped_bit_is_found(run, place):
    path = run / NEWEST
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged") as caught:
        adl.Trainer.load(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 0.5, -1])
def test_a_cut_file_is_found(run, keep):
    path = run / NEWEST
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match=NEWEST):
        adl.Trainer.load(run)


@pytest.mark.parametrize("damage", ["flipped", "cut", "absent"])
def test_the_generation_before_is_loaded_with_a_warning(two, damage):
    run, before = two
    content = bytearray((run / NEWEST).read_bytes())
    content[len(content) // 2] ^= 4
    (run / NEWEST).write_bytes(content if damage == "flipped" else content[:99])
    if damage == "absent":
        (run / NEWEST).unlink()
    with pytest.warns(CheckpointWarning, match=r"falling back .* model\.previous\.safetensors"):
        again = adl.Trainer.load(run)
    assert contents(again) == before


def test_where_both_are_damaged_the_newest_is_named(two):
    run, _ = two
    for name in (NEWEST, OLDER):
        (run / name).write_bytes((run / name).read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"run/model\.safetensors: damaged"):
        adl.Trainer.load(run)


def test_a_header_of_one_save_with_the_arrays_of_another_is_refused(two):
    run, _ = two
    older, newer = (run / OLDER).read_bytes(), (run / NEWEST).read_bytes()
    size = 8 + int.from_bytes(newer[:8], "little")
    body = older[8 + int.from_bytes(older[:8], "little") :]
    assert len(body) == len(newer) - size
    (run / NEWEST).write_bytes(newer[:size] + body)
    (run / OLDER).unlink()
    with pytest.raises(CheckpointError, match="digest"):
        adl.Trainer.load(run)


def test_what_is_no_run_says_what_was_expected(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint here.*Trainer\.save"):
        adl.Trainer.load(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        adl.Trainer.load(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="file: damaged"):
        adl.Trainer.load(tmp_path / "file")


@pytest.fixture
def forge(run):
    """Write the run's checkpoint anew, with a right digest, after a change to its manifest."""

    def make(change):
        _, manifest, arrays = checkpoint.read(run / NEWEST)
        change(manifest, arrays)
        (run / NEWEST).write_bytes(b"".join(archive.pack(arrays, manifest)))
        return run

    return make


BAD = {
    "format": 99, "model": {"layer": "subprocess.run", "arguments": {}}, "optimizer": {}, "loss": 3,
    "state": None, "metrics": 5, "info": 3, "history": 7, "seed": "x", "position": 5,
    "made_with": [],
}  # fmt: skip


@pytest.mark.parametrize("key", BAD)
@pytest.mark.parametrize("absent", [False, True])
def test_a_manifest_with_a_wrong_entry_is_a_checkpoint_error(forge, key, absent):
    run = forge(lambda m, _: m.pop(key) if absent else m.update({key: BAD[key]}))
    with pytest.raises(CheckpointError, match=NEWEST):
        adl.Trainer.load(run)


@pytest.mark.parametrize("manifest", [[], None, 1, {}, {"format": 1}])
def test_a_manifest_that_is_none_is_a_checkpoint_error(run, manifest):
    (run / NEWEST).write_bytes(b"".join(archive.pack({}, manifest)))
    with pytest.raises(CheckpointError, match=NEWEST):
        adl.Trainer.load(run)


@pytest.mark.parametrize("change", [
    lambda m, a: a.pop("model.fc.bias"),
    lambda m, a: a.update({"model.extra": np.zeros(3)}),
    lambda m, a: a.update({"model.fc.bias": np.zeros(7, np.float32)}),
    lambda m, a: a.pop("optimizer.fc.bias.m"),
    lambda m, a: a.update({"optimizer.fc.bias.m": np.zeros(7, np.float32)}),
    lambda m, a: m["state"].update(step="1"),
    lambda m, a: m["state"].update(schedules=[]),
])  # fmt: skip
def test_arrays_that_do_not_fit_are_a_checkpoint_error(forge, change):
    with pytest.raises(CheckpointError, match=NEWEST):
        adl.Trainer.load(forge(change))


def test_an_optimizer_that_is_not_installed_is_named_with_its_distribution(forge):
    def change(manifest, _):
        manifest["optimizer"]["name"] = "adamax"
        used = next(p for p in manifest["made_with"]["plugins"] if p["kind"] == "optimizer")
        used.update(name="adamax", distribution="better-optimizers", version="3.1")

    with pytest.raises(UnknownNameError, match=r"'adamax'.*better-optimizers 3\.1.*Did you mean"):
        adl.Trainer.load(forge(change))


def test_other_versions_are_a_warning(forge):
    def change(manifest, _):
        manifest["made_with"]["versions"]["numpy"] = "1.0"
        manifest["made_with"]["plugins"][0]["version"] = "0.0"

    with pytest.warns(CheckpointWarning, match=r"backend plugin numpy 0\.0 → .*numpy 1\.0 → 2"):
        adl.Trainer.load(forge(change))


def test_the_dtype_comes_back_too(problem, tmp_path, small):
    trainer = adl.Trainer(small().astype("float64"), adl.optimizer("adam"))
    images, labels = problem
    trainer.fit((images.astype(np.float64), labels), epochs=1, batch_size=20)
    trainer.save(tmp_path)
    again = adl.Trainer.load(tmp_path)
    assert again.model["fc"].weight.data.dtype == np.float64
    assert contents(again) == contents(trainer)


def test_weights_that_are_not_finite_are_not_saved(two):
    run, _ = two
    trainer = adl.Trainer.load(run)
    before = contents(trainer)
    trainer.model["fc"].bias.data = trainer.model["fc"].bias.data + np.float32(np.inf)
    with pytest.raises(NonFiniteError, match=r"'fc\.bias'.*not saved"):
        trainer.save(run)
    assert contents(adl.Trainer.load(run)) == before


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


def test_a_loss_of_ones_own_is_passed_again(problem, small, tmp_path):
    def loss(outputs, labels):
        return adl.losses.cross_entropy(outputs, labels)

    trainer = adl.Trainer(small(), adl.optimizer("sgd"), loss=loss)
    trainer.fit(problem, epochs=1, batch_size=20)
    trainer.save(tmp_path)
    with pytest.raises(CheckpointError, match=r"Trainer\.load\(path, loss=\.\.\.\)"):
        adl.Trainer.load(tmp_path)
    assert adl.Trainer.load(tmp_path, loss=loss).evaluate(problem) == trainer.evaluate(problem)


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
