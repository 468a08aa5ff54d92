"""`train`: its options reach the engine, the model and the data, or are refused."""

from __future__ import annotations

import pytest
from run_files import LINEAR, described

from agnostic_dl.cli import keeping
from agnostic_dl.cli.building import build_engine
from agnostic_dl.cli.settings import Settings
from agnostic_dl.errors import UsageError
from agnostic_dl_numpy import NumpyBackend


@pytest.mark.usefixtures("no_pictures")
def test_options_reach_the_model_the_optimizer_and_the_data(cli, own_folder, class_folders):
    result = cli(
        "train", class_folders("pets", count=10), "-e", 2, "-b", 4, "-o", "momentum", "-l", 0.01,
        "--hyper", "nesterov=true", "--override", "conv*=adagrad:learning_rate=0.02,eps=1e-9",
        "--override", "*.bias=none", "--clip-norm", 1, "--schedule", "cosine", "--warmup-steps", 2,
        "--image-size", "8x12", "--mode", "l", "--validation-fraction", 0.2, "--out", "r",
    )  # fmt: skip
    assert (result.code, result.err) == (0, "")
    assert "validation loss" in result.out
    manifest = described(own_folder / "r")
    assert manifest["info"]["image_shape"] == [8, 12, 1]
    optimizer = manifest["optimizer"]
    assert optimizer["clip_norm"] == 1.0
    assert optimizer["hyperparameters"]["nesterov"] is True
    assert optimizer["hyperparameters"]["learning_rate"]["schedule"] == "linear_warmup"
    assert optimizer["overrides"]["*.bias"] is None
    assert optimizer["overrides"]["conv*"]["hyperparameters"]["eps"] == 1e-9


@pytest.mark.usefixtures("no_pictures")
def test_deterministic_pins_the_threads_and_stays_with_the_run(cli, monkeypatch, own_folder):
    pinned = []
    monkeypatch.setattr(NumpyBackend, "pin_threads", lambda self: pinned.append(self))
    assert cli(*LINEAR, "-e", 1, "-q", "--out", "r").code == 0
    assert not pinned
    for options in (("-e", 1, "--overwrite", "--deterministic"), ("-e", 2, "--resume")):
        assert cli(*LINEAR, "-q", "--out", "r", *options).code == 0
        assert pinned.pop().name == "numpy"
    result = cli(*LINEAR, "-q", "--out", "s", "--deterministic", "--backend", "strict")
    assert result.code == 2
    assert "'strict' cannot be kept to one thread" in result.err


@pytest.mark.parametrize("text", ["", "0", "often", "-3", "1.5", "10 years"])
def test_a_wrong_interval_is_refused(cli, own_folder, text):
    result = cli(*LINEAR, "--out", "r", f"--checkpoint-every={text}")
    assert result.code == 2
    assert "expected steps (500) or a time" in result.err
    assert not (own_folder / "r").exists()


def test_a_time_is_read_in_minutes():
    assert keeping.how_often("90s") == {"every_minutes": 1.5}
    assert keeping.how_often("2 h") == {"every_minutes": 120.0}


@pytest.mark.parametrize(
    ("options", "step", "rate"),
    [
        ({"schedule": "step", "decay_every": 2}, 21, 0.01),
        ({"schedule": "cosine", "final_learning_rate": 0.05}, 61, 0.05),
        ({"schedule": "hold"}, 60, 0.05),
        ({"schedule": "plateau"}, 60, 0.1),
        ({"warmup_steps": 10}, 5, 0.05),
    ],
)
def test_schedules_follow_the_length_of_the_run(options, step, rate):
    settings = Settings(optimizer="sgd", learning_rate=0.1, **options)
    engine = build_engine(settings, steps_per_epoch=10, epochs=6)
    assert engine.optimizer.learning_rate(step) == pytest.approx(rate)


def test_a_required_hyperparameter_is_named():
    with pytest.raises(UsageError, match="use --learning-rate"):
        build_engine(Settings(hyper=("learning_rate=1",)), 1, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--precision", "half"), "unknown precision 'half'"),
        (("--precision", "float16", "--backend", "strict"), "'strict' has no such dtype"),
    ],
)
def test_a_precision_that_cannot_be_had_is_refused_before_anything_is_written(
    cli, own_folder, options, words
):
    result = cli(*LINEAR, *options, "-q", "--out", "r")
    assert result.code == 2
    assert words in result.err
    assert not (own_folder / "r").exists()
