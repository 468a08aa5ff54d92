from __future__ import annotations

import os
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from agnostic_dl.data import from_arrays, load
from agnostic_dl.data.host import allocate
from agnostic_dl.errors import DataError, UsageError

COLOURS = np.random.default_rng(0).integers(0, 256, (4, 9, 7, 3), dtype=np.uint8)


class TestDigits:
    def test_form(self):
        data = load("digits")
        assert data.name == "digits"
        assert data.classes == tuple("0123456789")
        assert data.image_shape == (8, 8, 1)
        assert len(data.train) + len(data.test) == 1797
        x, _ = data.train[:]
        assert (x.min(), x.max()) == (0, 1)
        np.testing.assert_array_equal(x * 16, np.rint(x * 16))

    def test_split_is_stratified(self):
        data = load("digits")
        counts = np.bincount(data.train.labels) + np.bincount(data.test.labels)
        np.testing.assert_allclose(np.bincount(data.test.labels), counts * 0.2, atol=0.5)

    def test_equal_scikit_learns(self):
        if find_spec("sklearn") is None:
            pytest.skip("scikit-learn, which has the same digits, is not installed")
        from sklearn.datasets import load_digits

        digits, data = load_digits(), load("digits")
        parts = (data.train, data.test)
        rows = np.argsort(np.concatenate([part._rows for part in parts]))
        x = np.concatenate([part[:][0] for part in parts])[rows]
        y = np.concatenate([part.labels for part in parts])[rows]
        np.testing.assert_array_equal(x[..., 0] * 16, digits.images)
        np.testing.assert_array_equal(y, digits.target)

    def test_known_sums(self):
        """Without scikit-learn: sums of its numbers, taken once."""
        data = load("digits")
        total = sum(float(part[:][0].sum(dtype=np.float64)) for part in (data.train, data.test))
        assert total * 16 == 561718
        assert sum(int(part.labels.sum()) for part in (data.train, data.test)) == 8070

    def test_wins_over_a_folder(self, tmp_path, monkeypatch):
        (tmp_path / "digits").mkdir()
        monkeypatch.chdir(tmp_path)
        assert len(load("digits").train) > 1000
        with pytest.raises(DataError, match="digits: an empty folder"):
            load("./digits")

    def test_other_sizes_and_colour(self):
        data = load("digits", image_size=(28, 20), mode="RGB")
        assert data.image_shape == (28, 20, 3)
        x, _ = data.train[:50]
        assert x.dtype == np.float32
        assert 0 <= x.min() < x.max() <= 1


def write_both(tmp_path, name="toy"):
    """The same pictures as an archive and as a folder of PNG files."""
    labels = np.arange(4) % 2
    np.savez(tmp_path / f"{name}.npz", x=COLOURS, y=labels)
    for index, (image, label) in enumerate(zip(COLOURS, labels, strict=True)):
        folder = tmp_path / name / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    return tmp_path / f"{name}.npz", tmp_path / name


@pytest.mark.parametrize("mode", [None, "L", "RGB"])
@pytest.mark.parametrize("size", [None, 5, (12, 3)])
def test_arrays_and_files_give_the_same_pictures(tmp_path, size, mode):
    archive, folder = (load(path, image_size=size, mode=mode) for path in write_both(tmp_path))
    if mode == "L" and size is not None:  # grey before resizing in both, to the last bit
        assert archive.image_shape[2] == 1
    for one, other in ((archive.train, folder.train), (archive.test, folder.test)):
        ours, theirs = one[np.argsort(one.labels)], other[np.argsort(other.labels)]
        np.testing.assert_array_equal(ours[0], theirs[0])


def test_float_arrays_are_resized_alike(tmp_path):
    np.savez(tmp_path / "f.npz", x=COLOURS / np.float32(255), y=np.arange(4) % 2)
    np.savez(tmp_path / "i.npz", x=COLOURS, y=np.arange(4) % 2)
    for mode in ("L", "RGB"):
        floats, integers = (
            load(tmp_path / name, image_size=5, mode=mode).train[:][0]
            for name in ("f.npz", "i.npz")
        )
        np.testing.assert_allclose(floats, integers, atol=1.6 / 255)


def test_grey_of_white_is_not_above_one():
    white = np.ones((2, 3, 3, 3), np.float32)
    from agnostic_dl.data.refit import recoloured

    assert recoloured(white, "L", "here").max() == 1


def test_other_numbers_of_channels(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 9, 9, 2), np.uint8), y=np.arange(4) % 2)
    assert load(tmp_path / "a.npz", image_size=3).image_shape == (3, 3, 2)
    with pytest.raises(DataError, match="images of 2 channels cannot become 'L'"):
        load(tmp_path / "a.npz", mode="L")


@pytest.mark.parametrize("size", [0, -1, (3,), (3, 4, 5), 2.5, "28", (2.5, 3), 10**5, (0, 3)])
def test_bad_size(size):
    with pytest.raises(UsageError, match="image_size must be"):
        load("digits", image_size=size)


@pytest.mark.parametrize("mode", ["grey", "RGBA", 3, ""])
def test_bad_mode(mode):
    with pytest.raises(UsageError, match="mode must be 'L'"):
        load("digits", mode=mode)


class TestNothingThere:
    def test_unknown_name(self):
        with pytest.raises(UsageError, match=r"'digit': no such .* \(there are: digits\); did you"):
            load("digit")

    def test_neighbours_are_suggested(self, tmp_path, monkeypatch):
        (tmp_path / "flowers").mkdir()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError, match="did you mean 'flowers'"):
            load("flower")
        with pytest.raises(DataError, match="flower: no such file or folder; did you mean 'flow"):
            load(tmp_path / "flower")

    @pytest.mark.parametrize("path", ["/no/such/place", "toy.npz", "a/b", "bad\0name/x"])
    def test_missing_path(self, path, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(DataError, match="no such file or folder; check the path") as caught:
            load(path)
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize("path", ["", b"digits", None, 3, ["digits"]])
    def test_not_a_path(self, path):
        with pytest.raises(UsageError, match="expected the path of a dataset or a name"):
            load(path)

    def test_a_file_that_is_no_dataset(self, tmp_path):
        (tmp_path / "a.tar.gz").write_bytes(b"junk")
        with pytest.raises(DataError, match=r"a\.tar\.gz: not a dataset; expected a folder"):
            load(tmp_path / "a.tar.gz")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
    def test_a_pipe(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="neither a file nor a folder"):
            load(tmp_path / "pipe")


def test_home_is_expanded(tmp_path, monkeypatch):
    write_both(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load("~/toy.npz").name == "toy"


def test_names(tmp_path, monkeypatch):
    archive, folder = write_both(tmp_path)
    assert load(archive).name == load(f"{folder}{os.sep}").name == "toy"
    monkeypatch.chdir(folder)
    assert load(".").name == "toy"


def test_more_than_memory():
    with pytest.raises(DataError, match=r"here: .* images of 9999×9999×3 need .* GB, more than"):
        allocate((2**40, 9999, 9999, 3), np.uint8, "here")


def test_from_arrays_is_what_the_files_give(tmp_path):
    archive, _ = write_both(tmp_path)
    whole = from_arrays(COLOURS, np.arange(4) % 2)
    assert load(archive).classes == whole.classes
