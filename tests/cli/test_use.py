"""`evaluate`, `predict` and `plugins list` on a trained run."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from agnostic_dl import Trainer
from agnostic_dl import data as datasets


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """A run on two classes of coloured pictures, and its data."""
    from agnostic_dl.cli import main

    root = tmp_path_factory.mktemp("pets")
    for name, colour in (("[red]", (255, 30, 20)), ("blau", (20, 30, 255))):
        (root / "data" / name).mkdir(parents=True)
        for k in range(10):
            image = Image.new("RGB", (8, 6), tuple(max(c - 5 * k, 0) for c in colour))
            image.save(root / "data" / name / f"{k}.png")
    arguments = ["train", str(root / "data"), "-m", "linear", "-e", "20", "-l", "0.05", "-q"]
    assert main([*arguments, "--out", str(root / "run")]) == 0
    return root


def test_evaluate_agrees_with_the_trainer(cli, trained):
    result = cli("evaluate", trained, "digits", "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    expected = Trainer.load(trained).evaluate(datasets.load("digits").test)
    assert found["loss"] == pytest.approx(expected["loss"])
    assert found["accuracy"] == pytest.approx(expected["accuracy"])
    assert found["images"] == sum(row["images"] for row in found["classes"]) == 359
    right = sum(row["right"] for row in found["classes"])
    assert right / 359 == pytest.approx(found["accuracy"])


def test_evaluate_prints_a_table(cli, trained):
    result = cli("evaluate", trained, "digits", "--part", "all")
    assert (result.code, result.err) == (0, "")
    assert "1,797 images (all there are): loss" in result.out
    assert not any(ord(c) < 32 and c != "\n" for c in result.out)


def test_evaluate_goes_by_the_names_of_classes_and_fits_the_images(cli, pets, own_folder):
    for name, colour in (("[red]", "red"), ("blau", "blue")):
        (own_folder / "test" / name).mkdir(parents=True)
        for k in range(3):
            Image.new("RGB", (30 + k, 20), colour).save(own_folder / "test" / name / f"{k}.bmp")
    result = cli("evaluate", pets / "run", own_folder / "test", "--part", "all")
    assert (result.code, result.err) == (0, "")
    assert "accuracy 100.00 %" in result.out
    assert "[red]" in result.out
    (own_folder / "test" / "blau").rename(own_folder / "test" / "gelb")
    result = cli("evaluate", pets / "run", own_folder / "test")
    assert result.code == 1
    assert "gelb" in result.err


def test_evaluate_refuses_an_unknown_part(cli, trained):
    assert cli("evaluate", trained, "digits", "--part", "most").code == 2


def test_predict_names_classes_with_probabilities(cli, pets, own_folder):
    Image.new("L", (3, 50), 40).save(own_folder / "grey.webp")
    Image.new("RGB", (300, 200), "red").save(own_folder / "red.JPG")
    result = cli("predict", pets / "run", "red.JPG", "grey.webp", "--top", 1)
    assert (result.code, result.err) == (0, "")
    first, second = result.out.splitlines()
    assert first == "red.JPG: [red] 100.0 %"
    assert second.startswith("grey.webp: ")
    found = json.loads(cli("predict", pets / "run", "red.JPG", "--json").out)
    assert [row["class"] for row in found[0]["classes"]] == ["[red]", "blau"]
    assert sum(row["probability"] for row in found[0]["classes"]) == pytest.approx(1)


def test_predict_writes_pictures_with_labels(cli, pets, own_folder):
    red = pets / "data" / "[red]" / "0.png"
    blue = pets / "data" / "blau" / "0.png"
    assert cli("predict", pets / "run", red, blue, "--label-images", "out").code == 0
    assert sorted(p.name for p in (own_folder / "out").iterdir()) == ["0-2.png", "0.png"]
    with Image.open(own_folder / "out" / "0.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape[0] > 240  # enlarged, with a strip beneath
    assert pixels[0, 0].tolist() == [255, 30, 20]
    assert (pixels[-1] == 255).all()


def test_predict_writes_nothing_when_one_picture_is_bad(cli, trained, own_folder):
    Image.new("L", (8, 8)).save(own_folder / "good.png")
    (own_folder / "bad.png").write_text("no picture")
    result = cli("predict", trained, "good.png", "bad.png", "--label-images", "out")
    assert result.code == 1
    assert result.err.startswith("error: bad.png")
    assert (result.out, (own_folder / "out").exists()) == ("", False)


def test_a_run_without_images_cannot_predict(cli, own_folder):
    from agnostic_dl import models

    rng = np.random.default_rng(0)
    x, y = rng.random((8, 4, 4, 1), dtype=np.float32), np.arange(8) % 2
    trainer = Trainer(models.create("linear", input_shape=(4, 4, 1), classes=2))
    trainer.fit((x, y), epochs=1, batch_size=4)
    trainer.save(own_folder / "r")
    result = cli("predict", "r", "x.png")
    assert result.code == 1
    assert "does not say which images" in result.err


def test_plugins_are_listed(cli):
    result = cli("plugins", "list")
    assert (result.code, result.err) == (0, "")
    assert any(line.split()[:3] == ["adam", "optimizer", "agnostic-dl-optimizers"]
               for line in result.out.splitlines())  # fmt: skip


def test_examples_run_over_several_datasets(trained):
    from agnostic_dl.cli.loading import load_data, load_run

    trainer = load_run(trained, None)
    data = datasets.load("digits")
    both = load_data(trainer, trained, "digits", "all")
    x, y = both[1400:1500]
    assert len(both) == 1797
    np.testing.assert_array_equal(x[:38], data.train[1400:][0])
    np.testing.assert_array_equal(x[38:], data.test[:62][0])
    np.testing.assert_array_equal(y, both.labels[1400:1500])
