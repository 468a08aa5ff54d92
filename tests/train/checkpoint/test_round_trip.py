"""What is saved comes back whole: model, optimizer, position, dtypes, whichever backend."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from saved_runs import contents, engines, trained

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import CheckpointError, MissingExtraError

pytest.importorskip("safetensors", reason="safetensors is not installed")


@pytest.fixture(params=engines())
def engine(request):
    return engines()[request.param]


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


def test_the_dtype_comes_back_too(problem, tmp_path, small):
    trainer = adl.Trainer(small().astype("float64"), adl.optimizer("adam"))
    images, labels = problem
    trainer.fit((images.astype(np.float64), labels), epochs=1, batch_size=20)
    trainer.save(tmp_path)
    again = adl.Trainer.load(tmp_path)
    assert again.model["fc"].weight.data.dtype == np.float64
    assert contents(again) == contents(trainer)


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


def test_a_loss_of_ones_own_is_passed_again(problem, small, tmp_path):
    def loss(outputs, labels):
        return adl.losses.cross_entropy(outputs, labels)

    trainer = adl.Trainer(small(), adl.optimizer("sgd"), loss=loss)
    trainer.fit(problem, epochs=1, batch_size=20)
    trainer.save(tmp_path)
    with pytest.raises(CheckpointError, match=r"Trainer\.load\(path, loss=\.\.\.\)"):
        adl.Trainer.load(tmp_path)
    assert adl.Trainer.load(tmp_path, loss=loss).evaluate(problem) == trainer.evaluate(problem)
