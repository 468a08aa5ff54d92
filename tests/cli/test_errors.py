"""Wrong input: one line on stderr, exit code 2 for wrong use and 1 for wrong data, no RUN."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from agnostic_dl.cli import session


def assert_refused(result, code, *words):
    assert result.code == code, result.err
    assert result.err.startswith("error: ")
    assert len(result.err.splitlines()) == 1
    for word in words:
        assert word in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "lenett"], ["Did you mean 'lenet'", "resnet20"]),
        (["--optimizer", "adm"], ["Did you mean 'adam'", "sgd"]),
        (["--backend", "nunpy"], ["Did you mean 'numpy'"]),
        (["--device", "7"], ["--device 7", "numpy"]),
        (["--learning-rate", "-1"], ["expected a positive number, got -1.0"]),
        (["--learning-rate", "0"], ["expected a positive number"]),
        (["--learning-rate", "nan"], ["expected a positive number"]),
        (["--learning-rate", "fast"], ["--learning-rate"]),
        (["--batch-size", "0"], ["positive integer, got 0"]),
        (["--batch-size", "2000"], ["2000", "1438"]),
        (["--epochs", "0"], ["--epochs"]),
        (["--clip-norm", "-1"], ["clip_norm"]),
        (["--model", "linear", "--dropout", "0.5"], ["--dropout goes with --model mlp"]),
        (["--model", "mlp", "--dropout", "1.5"], ["1.5"]),
        (["--model", "adam-paper-cnn"], ["at least 15×15"]),
        (["--schedule", "cosin"], ["cosine", "plateau"]),
        (["--patience", "3"], ["--patience goes with --schedule plateau"]),
        (["--schedule", "step", "--decay-factor", "2"], ["between 0 and 1"]),
        (["--schedule", "step", "--decay-every", "0"], ["--decay-every: expected 1 or more"]),
        (["--warmup-steps", "-1"], ["--warmup-steps"]),
        (["--hyper", "beta1"], ["key=value"]),
        (["--hyper", "beta3=1"], ["no hyperparameter 'beta3'", "beta1"]),
        (["--hyper", "beta1=high"], ["beta1: expected a number"]),
        (["--override", "conv*"], ["PATTERN=OPTIMIZER"]),
        (["--override", "conv*=sgdd"], ["Did you mean 'sgd'"]),
        (["--override", "zzz*=sgd"], ["'zzz*' matches no parameter", "conv1.weight"]),
        (["--image-size", "3x"], ["--image-size"]),
        (["--mode", "pink"], ["pink"]),
        (["--validation-fraction", "1"], ["--validation-fraction"]),
        (["--resume", "--overwrite"], ["choose one"]),
        (["--nonsense"], ["--nonsense", "train --help"]),
    ],
)
def test_wrong_use(cli, own_folder, arguments, words):
    assert_refused(cli("train", "digits", "--out", "r", *arguments), 2, *words)
    assert not (own_folder / "r").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], ["DATA", "train --help"]),
        (["trian", "digits"], ["trian"]),
        (["train", "digit"], ["did you mean 'digits'"]),
        (["plugins"], ["plugins --help"]),
        (["predict", "somewhere"], ["IMAGE"]),
    ],
)
def test_wrong_commands(cli, arguments, words):
    assert_refused(cli(*arguments), 2, *words)


def test_a_file_is_no_run(cli, own_folder):
    (own_folder / "file").write_text("x")
    assert_refused(cli("train", "digits", "--out", "file"), 2, "file")
    assert (own_folder / "file").read_text() == "x"


def make_bad_data(kind, folder, class_folders):
    if kind == "empty":
        folder.mkdir()
    elif kind == "one class":
        class_folders(folder.name, classes=["cat"])
    elif kind == "mixed sizes":
        class_folders(folder.name, classes=["cat"])
        class_folders(folder.name, classes=["dog"], shape=(7, 7, 3))
    elif kind == "cut image":
        path = class_folders(folder.name) / "cat" / "3.png"
        path.write_bytes(path.read_bytes()[:60])
    elif kind == "cut IDX":
        folder.mkdir()
        for name, header in (("images-idx3", [0, 0, 8, 3, 0, 0, 0, 9]), ("labels-idx1", [0])):
            (folder / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(bytes(header)))
    elif kind == "numbers differ":
        folder.mkdir()
        np.savez(folder / "d.npz", images=np.zeros((9, 4, 4), np.uint8), labels=np.arange(8))


@pytest.mark.parametrize(
    "kind", ["missing", "empty", "one class", "mixed sizes", "cut image", "cut IDX",
             "numbers differ"],
)  # fmt: skip
def test_wrong_data(cli, own_folder, class_folders, kind):
    folder = own_folder / "bad"
    make_bad_data(kind, folder, class_folders)
    source = folder / "d.npz" if kind == "numbers differ" else folder
    assert_refused(cli("train", source, "--out", "r"), 1, "bad")
    assert not (own_folder / "r").exists()
    if kind == "mixed sizes":
        assert cli("train", source, "--out", "r", "--image-size", 8, "-e", 1, "-q").code == 0


@pytest.mark.parametrize("command", [["evaluate"], ["predict"]])
@pytest.mark.parametrize("kind", ["missing", "empty", "no safetensors", "cut"])
def test_a_checkpoint_that_is_none(cli, own_folder, trained, command, kind):
    run = own_folder / "r"
    if kind != "missing":
        run.mkdir()
    if kind == "no safetensors":
        (run / "model.safetensors").write_text("{")
    if kind == "cut":
        content = (trained / "model.safetensors").read_bytes()
        (run / "model.safetensors").write_bytes(content[:-1])
    assert_refused(cli(*command, run, "digits"), 1, "r")


def test_debug_shows_where(cli):
    result = cli("train", "nowhere/at/all", "--debug")
    assert result.code == 1
    assert "Traceback" in result.err
    assert result.err.splitlines()[-1].startswith("error: ")


def test_a_fault_of_our_own_is_one_line_too(cli, monkeypatch):
    monkeypatch.setattr(session, "_rehearse", lambda *_: 1 / 0)
    assert_refused(cli("train", "digits"), 1, "unexpected ZeroDivisionError", "--debug")


def test_names_from_outside_cannot_steer_the_terminal(cli, own_folder):
    result = cli("train", "digits", "--model", "\x1b[31mred\nnext")
    assert_refused(result, 2)
    assert "\x1b" not in result.err


def test_a_system_error_names_the_file(cli, own_folder, monkeypatch):
    from agnostic_dl import Trainer

    def full(self, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Trainer, "save", full)
    assert_refused(cli("train", "digits", "-m", "linear", "--out", "r"), 1, "r: no space left")
