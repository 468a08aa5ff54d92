"""`train`: what it shows, what it leaves, and how it goes on after an interruption."""

from __future__ import annotations

import csv
import json
import os
import signal

import numpy as np
import pytest
from PIL import Image

from agnostic_dl.cli import artefacts, keeping, run_folder
from agnostic_dl.cli.building import build_engine
from agnostic_dl.cli.settings import Settings
from agnostic_dl.errors import UsageError
from agnostic_dl.train import Trainer, TrainStep, checkpoint
from agnostic_dl_numpy import NumpyBackend


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave out what takes the most time in a short run, where the test is about something else."""
    monkeypatch.setattr(artefacts, "write_all", lambda *_: None)


LINEAR = ("train", "digits", "--model", "linear")


def rows(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_everything_and_nothing_half_written(trained):
    left = {path.name for path in trained.iterdir()}
    assert left == {*run_folder.CONTENTS} - {checkpoint.PREVIOUS_NAME}  # after a single epoch
    for name in (run_folder.CURVES, run_folder.CONFUSION_PICTURE, run_folder.MISTAKES):
        with Image.open(trained / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 300
    with open(trained / run_folder.CONFUSION, newline="") as file:
        table = list(csv.reader(file))
    assert len(table) == 11
    assert sum(int(cell) for row in table[1:] for cell in row[1:]) == 359
    assert [row["epoch"] for row in rows(trained)] == ["1"]
    described = json.loads((trained / run_folder.DESCRIPTION).read_text())
    assert described["model"]["layer"] == "Sequential"
    assert described["optimizer"]["name"] == "adam"


@pytest.mark.usefixtures("no_pictures")
def test_without_a_terminal_the_output_is_plain_lines(cli):
    result = cli(*LINEAR, "--epochs", 2, "--out", "r")
    assert result.code == 0
    assert result.err == ""
    assert not any(ord(c) < 32 and c != "\n" for c in result.out)
    lines = result.out.splitlines()
    assert lines[0] == ("digits: 1,438 training and 359 test images, 8×8 grey, 10 classes")
    assert any(line.split() == ["fc", "Linear", "10", "650"] for line in lines)
    start = next(i for i, line in enumerate(lines) if line.split()[:2] == ["epoch", "loss"])
    assert [line.split()[0] for line in lines[start:]] == ["epoch", "1/2", "2/2", "test"]
    assert "images/s" in lines[start]
    assert lines[-1].startswith("test loss")
    assert lines[-1].endswith("run in r")


@pytest.mark.usefixtures("no_pictures")
def test_quiet_prints_one_line(cli):
    result = cli(*LINEAR, "-e", 1, "-q")
    assert len(result.out.splitlines()) == 1
    assert "runs/digits-linear-adam" in result.out


@pytest.mark.usefixtures("no_pictures")
def test_an_earlier_run_is_never_overwritten_unasked(cli, own_folder):
    assert cli(*LINEAR, "-e", 1, "-q").code == 0
    assert cli(*LINEAR, "-e", 1, "-q").code == 0
    assert sorted(p.name for p in (own_folder / "runs").iterdir()) == [
        "digits-linear-adam", "digits-linear-adam-2"
    ]  # fmt: skip
    result = cli(*LINEAR, "--out", "runs/digits-linear-adam")
    assert result.code == 2
    assert "--resume" in result.err
    assert "--overwrite" in result.err


def test_overwrite_removes_only_what_a_run_had_left(cli, own_folder):
    folder = own_folder / "r"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / run_folder.MISTAKES).write_text("old")
    assert cli(*LINEAR, "-e", 1, "-q", "--out", "r", "--overwrite").code == 0
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / run_folder.MISTAKES).read_bytes()[:4] == b"\x89PNG"


def described(folder):
    return checkpoint.read(folder / checkpoint.NAME)[1]


def weights(folder):
    """Every array of the checkpoint, to the bit, and where the run stands."""
    _, manifest, arrays = checkpoint.read(folder / checkpoint.NAME)
    return {n: a.tobytes() for n, a in arrays.items()}, manifest["state"], manifest["position"]


@pytest.mark.usefixtures("no_pictures")
def test_a_resumed_run_equals_an_uninterrupted_one(cli, own_folder):
    schedule = ("--schedule", "hold", "--hold-steps", "15", "-l", "0.01", "-q")
    assert cli(*LINEAR, *schedule, "-e", 3, "--out", "whole").code == 0
    assert cli(*LINEAR, *schedule, "-e", 1, "--out", "parts").code == 0
    assert cli("train", "digits", "-q", "-e", 3, "--out", "parts", "--resume").code == 0
    assert weights(own_folder / "whole") == weights(own_folder / "parts")
    assert len(rows(own_folder / "parts")) == 3


@pytest.mark.usefixtures("no_pictures")
def test_resume_without_out_continues_the_last_run(cli, own_folder):
    for _ in range(2):
        assert cli(*LINEAR, "-e", 1, "-q").code == 0
    assert cli(*LINEAR, "-e", 2, "-q", "-r").code == 0
    assert len(rows(own_folder / "runs/digits-linear-adam-2")) == 2
    assert len(rows(own_folder / "runs/digits-linear-adam")) == 1


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("damage", ["absent", "cut"])
def test_resume_without_a_usable_checkpoint_begins_anew(cli, own_folder, damage):
    if damage == "cut":
        assert cli(*LINEAR, "-e", 2, "-q", "--out", "r").code == 0
        for name in (checkpoint.NAME, checkpoint.PREVIOUS_NAME):
            (own_folder / "r" / name).write_bytes(b"short")
    result = cli(*LINEAR, "-e", 1, "-q", "--out", "r", "--resume")
    assert result.code == 0
    assert result.err.startswith("note: no usable checkpoint")
    assert len(result.err.splitlines()) == 1
    assert len(rows(own_folder / "r")) == 1


def test_a_finished_run_is_not_trained_again(cli, trained, own_folder):
    import shutil

    shutil.copytree(trained, own_folder / "r")
    before = weights(own_folder / "r")
    result = cli("train", "digits", "-e", 1, "--out", "r", "-r", "-q")
    assert result.code == 0
    assert "1 epochs already" in result.err
    assert weights(own_folder / "r") == before


def test_resume_refuses_other_settings_and_other_data(cli, trained, class_folders):
    result = cli("train", "digits", "--out", trained, "-r", "-m", "mlp", "-e", 9)
    assert result.code == 2
    assert "trained with --model linear, not mlp" in result.err
    result = cli("train", class_folders("pets"), "--out", trained, "-r", "-e", 9)
    assert result.code == 1
    assert "other data" in result.err


@pytest.mark.usefixtures("no_pictures")
def test_resume_falls_back_to_the_generation_before_and_says_so(cli, own_folder):
    assert cli(*LINEAR, "-e", 3, "-q", "--out", "r").code == 0
    whole = weights(own_folder / "r")
    (own_folder / "r" / checkpoint.NAME).write_bytes(b"short")
    result = cli(*LINEAR, "-e", 3, "-q", "--out", "r", "--resume")
    assert result.code == 0
    assert result.err.startswith("note: r/model.safetensors: damaged")
    assert "falling back to the generation before it" in result.err
    assert len(result.err.splitlines()) == 1
    assert weights(own_folder / "r") == whole


@pytest.fixture
def signal_after(monkeypatch):
    """Send this process a signal after a certain step, as a user would; -1: never."""
    plain = keeping.Keeper.on_step_end

    def arrange(number, step):
        def on_step_end(self, trainer, *arguments):
            plain(self, trainer, *arguments)
            if trainer.step.count == step:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(keeping.Keeper, "on_step_end", on_step_end)

    return arrange


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("step", "kept"), [(5, "epoch 1 up to batch 5"), (12, "epoch 1 up to batch 12"),
                       (16, "epoch 2 up to batch 4"), (36, "epoch 3 up to batch 12")],
)  # fmt: skip
def test_a_signal_ends_a_run_at_a_step_and_nothing_is_lost(
    cli, signal_after, own_folder, number, code, step, kept
):
    mlp = ("train", "digits", "-m", "mlp", "-e", 3, "-q")
    assert cli(*mlp, "--out", "whole").code == 0
    signal_after(number, step)
    result = cli(*mlp, "--out", "parts")
    assert result.code == code
    assert result.err == f"error: interrupted; {kept} is kept in parts: continue it with --resume\n"
    signal_after(number, -1)
    result = cli("train", "digits", "-e", 3, "-q", "--out", "parts", "--resume")
    assert (result.code, result.err) == (0, "")
    assert weights(own_folder / "whole") == weights(own_folder / "parts")
    for column in ("loss", "accuracy", "val_loss", "learning_rate", "step"):
        histories = [[row[column] for row in rows(own_folder / n)] for n in ("whole", "parts")]
        assert histories[0] == histories[1]


def test_a_run_that_had_not_begun_leaves_nothing(cli, monkeypatch, own_folder):
    monkeypatch.setattr(
        keeping.Keeper, "on_fit_start", lambda *_: os.kill(os.getpid(), signal.SIGINT)
    )
    result = cli(*LINEAR, "-e", 3, "--out", "r")
    assert result.code == 130
    assert "nothing was saved" in result.err
    assert not (own_folder / "r").exists()


@pytest.mark.usefixtures("no_pictures")
def test_checkpoints_are_kept_within_an_epoch_as_asked(cli, monkeypatch, own_folder):
    saved = []
    plain = keeping.Keeper.save
    monkeypatch.setattr(
        keeping.Keeper, "save", lambda self, t: (saved.append(t.step.count), plain(self, t))
    )
    assert cli(*LINEAR, "-e", 1, "-q", "--out", "r", "--checkpoint-every", 5).code == 0
    assert saved == [5, 10, 12]
    saved.clear()
    assert cli(*LINEAR, "-e", 1, "-q", "--out", "s", "--checkpoint-every", "0.00001s").code == 0
    assert saved == [*range(1, 13), 12]


def test_out_of_memory_is_one_line_and_keeps_what_was_saved(cli, monkeypatch, own_folder):
    plain = TrainStep.run

    def run(self, x, y):
        if self.count == 20:
            raise MemoryError("Unable to allocate 3.5 GiB for an array")
        return plain(self, x, y)

    monkeypatch.setattr(TrainStep, "run", run)
    result = cli(*LINEAR, "-e", 3, "-q", "--out", "r")
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    for words in (
        "batch of 128 examples of 8×8×1",
        "3.5 GiB",
        "--batch-size",
        "epoch 1 is kept in r",
    ):
        assert words in result.err
    assert len(Trainer.load(own_folder / "r").history) == 1


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


def test_a_diverging_run_ends_in_one_line(cli, own_folder):
    result = cli("train", "digits", "-o", "sgd", "-l", "1e38", "--out", "r", "-q")
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert "the loss became" in result.err
    assert not (own_folder / "r").exists()


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
def test_the_network_takes_the_scale_of_the_images(cli, own_folder):
    for flags in ((), ("--no-standardize",)):
        assert cli(*LINEAR, "-e", 1, "-q", "--out", "r", "--overwrite", *flags).code == 0
        layers = described(own_folder / "r")["model"]["layers"]
        assert ("standardize" in layers) == (not flags)


@pytest.mark.usefixtures("no_pictures")
def test_strict_and_numpy_train_alike(cli, own_folder):
    for backend in ("numpy", "strict"):
        result = cli(*LINEAR, "-e", 1, "-q", "--backend", backend, "--out", backend)
        assert result.code == 0, result.err
    losses = [float(rows(own_folder / b)[0]["loss"]) for b in ("numpy", "strict")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


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


# -- mixed precision -----------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pictures")
def test_a_run_in_float16_is_described_resumed_and_used(cli, own_folder):
    short = ("--precision", "float16")
    assert cli(*LINEAR, *short, "-e", 2, "-q", "--out", "whole").code == 0
    assert cli(*LINEAR, *short, "-e", 1, "-q", "--out", "parts").code == 0
    kept = json.loads((own_folder / "parts/model.json").read_text())
    assert kept["precision"] == kept["info"]["settings"]["precision"] == "float16"
    assert kept["state"]["scaling"]["scale"] > 0
    assert cli("train", "digits", "-q", "-e", 2, "--out", "parts", "--resume").code == 0
    assert weights(own_folder / "whole") == weights(own_folder / "parts")
    assert cli(*LINEAR, "-e", 2, "-q", "--out", "plain").code == 0
    assert weights(own_folder / "plain") != weights(own_folder / "whole")
    assert cli("evaluate", "whole", "digits").code == 0
    result = cli("train", "digits", "--precision", "bfloat16", "--out", "parts", "-r", "-e", 3)
    assert result.code == 2
    assert "trained with --precision float16, not bfloat16" in result.err


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
