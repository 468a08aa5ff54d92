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


def test_a_state_that_holds_the_arrays_names_twice_is_refused(forge):
    run = forge(lambda m, _: m["state"].update(slots={}))
    with pytest.raises(CheckpointError, match=r"not made by this library.*holds 'slots' twice"):
        adl.Trainer.load(run)


class Counting(adl.optim.Engine):
    """An engine of one's own, whose state has a number more."""

    def init(self, params):
        return {**super().init(params), "seen": 0}

    def update(self, params, grads, state):
        new, state = super().update(params, grads, state)
        return new, {**state, "seen": state["seen"] + 1}


def test_what_an_engine_of_ones_own_saved_is_read_with_a_warning_and_gone_on_from(
    problem, small, tmp_path
):
    with adl.use_backend("numpy"):
        first, second = (
            adl.Trainer(small(), Counting(adl.optimizer("adam")), loss="cross_entropy")
            for _ in range(2)
        )
        first.step(*problem)
        first.save(tmp_path / "run")
        with pytest.warns(CheckpointWarning, match=r"state holds 'seen'.*kept for an engine"):
            second.continue_from(adl.Trainer.load(tmp_path / "run"))
        second.step(*problem)
    assert second.step.state["seen"] == second.step.count == 2


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
