"""Runs in a precision that are saved, resumed and used elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from precision_cases import HALVES, batches, mlp, same_state, settled

import agnostic_dl as adl
from agnostic_dl.errors import UsageError
from agnostic_dl.train import Checkpoints, XRay, archive, checkpoint
from agnostic_dl.train.precision import LossScaling


@pytest.mark.parametrize("precision", HALVES)
def test_a_resumed_run_goes_on_to_the_bit(precision, tmp_path):
    whole, data = settled(precision)
    whole.step.precision.scaling = whole.step.precision.scaling and LossScaling(interval=5)
    whole.fit(data, epochs=2, batch_size=16)
    parts, _ = settled(precision)
    parts.step.precision.scaling = parts.step.precision.scaling and LossScaling(interval=5)
    parts.fit(data, epochs=1, batch_size=16)
    parts.save(tmp_path / "run.safetensors")
    again = adl.Trainer.load(tmp_path / "run.safetensors")
    assert again.precision == precision
    assert same_state(again.step, parts.step)
    again.step.precision.scaling = again.step.precision.scaling and LossScaling(interval=5)
    again.fit(data, epochs=1, batch_size=16)
    assert same_state(again.step, whole.step)
    assert again.history["loss"] == whole.history["loss"]
    if precision == "float16":
        assert again.step.state["scaling"] == {"scale": 2.0**17, "clean": 3}


BROKEN = [
    {"scale": "large"}, {"scale": 0.0}, {"scale": -2.0}, {"scale": 2.0**-15}, {"scale": 1e300},
    {"scale": float("inf")}, {"scale": float("nan")}, {"scale": 8}, {"clean": -1}, {"clean": True},
    {"clean": 1.0}, {"more": 1}, {"scale": 12.0}, {"scale": 1e4},
]  # fmt: skip


@pytest.mark.parametrize("broken", [*BROKEN, None, "whole"], ids=repr)
def test_a_checkpoint_with_a_broken_scale_is_refused(broken, tmp_path, monkeypatch):
    trainer, data = settled()
    trainer.fit(data, epochs=1, batch_size=16)
    position = dict(trainer.step.position)
    if broken is None:
        del position["scaling"]
    else:
        whole = broken == "whole"
        position["scaling"] = [2.0, 3] if whole else {"scale": 8.0, "clean": 0} | broken
    monkeypatch.setattr(trainer.step, "position", position)
    trainer.save(tmp_path / "run.safetensors")
    wanted = "float16, but its scale .* is missing" if broken is None else "scale of the loss is no"
    with pytest.raises(adl.errors.CheckpointError, match=wanted):
        adl.Trainer.load(tmp_path / "run.safetensors")


@pytest.mark.parametrize("precision", [None, *HALVES])
def test_only_a_precision_needs_the_newer_format(precision, tmp_path):
    """Format 2 is what a version without precisions reads, and would go on in float32."""
    trainer, data = settled(precision)
    trainer.fit(data, epochs=1, batch_size=16)
    described = checkpoint.description(trainer)
    assert described["format"] == (2 if precision is None else 3)
    arrays = {f"model.{n}": a for n, a in trainer.model.state_dict().items()}
    for parameter, slots in trainer.step.state["slots"].items():
        arrays |= {f"optimizer.{parameter}.{n}": a for n, a in slots.items()}
    path = tmp_path / "run.safetensors"

    def load(**changes):
        path.write_bytes(b"".join(archive.pack(arrays, described | changes)))
        return adl.Trainer.load(path)

    assert load(format=2).precision == precision
    kept = described["state"] | {"scaling": {"scale": 8.0, "clean": 0}}
    if precision == "float16":
        assert load(state=kept).step.state["scaling"] == kept["scaling"]
    else:
        with pytest.raises(adl.errors.CheckpointError, match="has a scale of the loss, which"):
            load(state=kept)
    with pytest.raises(adl.errors.CheckpointError, match="format 2 or 3"):
        load(format=4)
    with pytest.raises(adl.errors.CheckpointError, match="precision is missing"):
        load(format=3, precision=None)


@pytest.mark.parametrize("capture", [False, True])
def test_a_step_that_is_left_out_is_neither_saved_nor_recorded_again(capture, tmp_path):
    class Counting(Checkpoints):
        def save(self, trainer):
            counts.append(trainer.step.count)

        def on_epoch_end(self, trainer, row):
            """Saves without asking for the count."""

    counts, xray = [], XRay()
    trainer = adl.Trainer(mlp(), "adam", precision="float16")
    trainer.step.precision.scaling = LossScaling(interval=3)
    trainer.step.state = trainer.step.state | {"scaling": {"scale": 2.0**21, "clean": 0}}
    watchers = [Counting(tmp_path, every_steps=2), *([] if capture else [xray])]
    data = tuple(np.concatenate(parts) for parts in zip(*batches(8, 8), strict=True))
    trainer.fit(data, epochs=2, batch_size=8, callbacks=watchers)
    made = trainer.step.count
    assert trainer.step.captured == capture
    assert 8 <= made <= 12
    assert counts == list(range(2, made + 1, 2))
    if not capture:
        assert [step for step, _ in xray.losses] == list(range(1, made + 1))


def test_a_run_may_be_used_where_it_could_not_be_trained(tmp_path):
    trainer, data = settled("float16")
    trainer.fit(data, epochs=1)
    trainer.save(tmp_path / "run.safetensors")
    there = adl.Trainer.load(tmp_path / "run.safetensors", backend="strict")
    assert there.evaluate(data)["loss"] == pytest.approx(trainer.evaluate(data)["loss"], rel=1e-5)
    with pytest.raises(UsageError, match="'strict' has no such dtype"):
        there.fit(data, epochs=1)


def test_another_precision_cannot_go_on_with_a_run():
    with pytest.raises(UsageError, match="precision 'float16' cannot go on in None"):
        settled(None)[0].continue_from(settled("float16")[0])
