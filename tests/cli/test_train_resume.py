"""`train`: how a run goes on after an interruption, and what is kept of it before."""

from __future__ import annotations

import json
import os
import signal

import pytest
from run_files import LINEAR, rows, weights

from agnostic_dl.cli import keeping
from agnostic_dl.train import checkpoint


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
