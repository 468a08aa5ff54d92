"""The pictures of a run: drawn without a display, for any names and numbers."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from agnostic_dl import viz
from agnostic_dl.data import Dataset
from agnostic_dl.errors import DataError
from agnostic_dl.train import History
from agnostic_dl.viz.mistakes import mistakes

ODD_NAMES = ("$x^2", "日本", "a_b", "line\nbreak", "long " * 20)


def opened(figure):
    return Image.open(BytesIO(viz.png(figure)))


def texts(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def row(epoch, **more):
    return {"epoch": epoch, "loss": 1 / epoch, "accuracy": 1 - 0.5 / epoch, **more}


@pytest.mark.parametrize("epochs", [1, 12])
def test_learning_curves(epochs):
    history = History([row(k, val_loss=2 / k, val_accuracy=0.5) for k in range(1, epochs + 1)])
    figure = viz.learning_curves(history)
    assert opened(figure).format == "PNG"
    assert len(figure.axes) == 2
    assert [line.get_label() for line in figure.axes[0].lines] == ["training", "test"]
    assert len(figure.axes[0].lines[0].get_xdata()) == epochs


def test_learning_curves_show_a_rate_that_changes_and_only_what_was_measured():
    rows = [{"epoch": k, "loss": 1.0, "learning_rate": 0.1 / k} for k in (1, 2, 3)]
    figure = viz.learning_curves(rows)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss", "learning rate"]


def test_confusion_counts():
    assert viz.confusion_counts([0, 0, 1, 2], [0, 1, 1, 0], 3) == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("classes", [2, 10, 30, 70])
def test_confusion_matrix_of_any_size(classes):
    counts = np.eye(classes, dtype=int).tolist()
    figure = viz.confusion_matrix(counts, [f"class {k}" for k in range(classes)])
    assert max(opened(figure).size) < 2600
    assert f"{classes} of {classes} right (100.00 %)" in texts(figure)
    assert ("1" in texts(figure)) == (classes <= 25)
    assert ("class 1" in texts(figure)) == (classes <= 60)


def test_odd_names_are_drawn_as_they_are():
    figure = viz.confusion_matrix(np.eye(5, dtype=int).tolist(), ODD_NAMES)
    opened(figure)
    assert "$x^2" in texts(figure)
    assert "line?break" in texts(figure)


def dataset(count, shape=(8, 8, 1)):
    images = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    return Dataset(images, np.arange(count) % 5, ODD_NAMES)


def test_mistakes_come_worst_first():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.99, 0.01], [0.2, 0.8]])
    assert mistakes([0, 1, 1, 1], probabilities) == [2, 1]


@pytest.mark.parametrize("shape", [(8, 8, 1), (5, 30, 3), (40, 7, 3), (6, 6, 2)])
def test_worst_mistakes_of_any_shape(shape):
    data = dataset(40, shape)
    probabilities = np.full((40, 5), 0.1)
    probabilities[:, 0] = 0.6
    figure = viz.worst_mistakes(data, probabilities)
    opened(figure)
    assert "the worst 25 of 32 mistakes among 40 pictures" in texts(figure)
    assert "taken for $x^2 (60.0 %)" in texts(figure)


def test_a_sheet_without_mistakes():
    data = dataset(5)
    figure = viz.worst_mistakes(data, np.eye(5))
    opened(figure)
    assert "no mistake among 5 pictures" in texts(figure)


@pytest.mark.parametrize("size", [(8, 8), (3, 200), (1200, 40), (5000, 10)])
def test_labelled_picture(tmp_path, size):
    Image.new("RGB", size, "teal").save(tmp_path / "p.png")
    labelled = viz.labelled_picture(tmp_path / "p.png", "日本 and more " * 9)
    assert labelled.getpixel((0, 0)) == (0, 128, 128)
    assert labelled.getpixel((0, labelled.height - 1)) == (255, 255, 255)
    assert max(labelled.size) <= 4200 + 300


def test_a_file_that_is_no_picture(tmp_path):
    (tmp_path / "p.png").write_text("no")
    with pytest.raises(DataError, match="not a picture"):
        viz.labelled_picture(tmp_path / "p.png", "x")


def test_drawing_leaves_no_global_state():
    code = (
        "import sys; from agnostic_dl import viz; "
        "viz.png(viz.learning_curves([{'epoch': 1, 'loss': 1.0}])); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code]).returncode == 0


def test_a_missing_library_is_named():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from agnostic_dl import errors, viz\n"
        "try: viz.learning_curves([{'epoch': 1, 'loss': 1.0}])\n"
        "except errors.MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "need matplotlib" in done.stdout
