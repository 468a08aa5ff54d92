"""What a checkpoint says of itself, and a file with a right digest that says something wrong."""

from __future__ import annotations

import numpy as np
import pytest
from saved_runs import NEWEST, manifest_of

import agnostic_dl as adl
from agnostic_dl.errors import CheckpointError, CheckpointWarning, UnknownNameError
from agnostic_dl.train import archive

pytest.importorskip("safetensors", reason="safetensors is not installed")


def test_the_manifest_says_what_the_run_was_made_with(run):
    made = manifest_of(run / NEWEST)["made_with"]
    used = {(p["kind"], p["name"]): (p["distribution"], p["version"]) for p in made["plugins"]}
    for kind, name in (("backend", "numpy"), ("optimizer", "adam")):
        info = next(i for i in adl.list_plugins() if (i.kind, i.name) == (kind, name))
        assert used[kind, name] == (info.distribution, info.version)
    assert made["versions"]["numpy"] == np.__version__
    assert made["versions"]["agnostic_dl"] == adl.__version__


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
    lambda m, a: m["state"].update(step=-1),
    lambda m, a: m["state"].update(step=True),
    lambda m, a: m["state"].update(schedules=[]),
])  # fmt: skip
def test_arrays_that_do_not_fit_are_a_checkpoint_error(forge, change):
    with pytest.raises(CheckpointError, match=NEWEST):
        adl.Trainer.load(forge(change))


@pytest.mark.parametrize("name", ["averages", "slots"])
def test_a_state_with_something_unknown_in_it_is_refused(forge, name):
    run = forge(lambda m, _: m["state"].update({name: {}}))
    wanted = rf"another version.*state holds '{name}', expected 'step', 'schedules'"
    with pytest.raises(CheckpointError, match=wanted):
        adl.Trainer.load(run)


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
