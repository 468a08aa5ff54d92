from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agnostic_dl.data import load
from agnostic_dl.errors import DataError


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image) / np.float32(255)


def test_classes_without_parts(class_folders):
    root = class_folders(classes=("dog", "cat", "Ape"), count=5)
    data = load(root)
    assert data.name == "pets"
    assert data.classes == ("Ape", "cat", "dog")
    assert (len(data.train), len(data.test)) == (12, 3)
    assert data.image_shape == (6, 8, 3)
    assert np.bincount(data.train.labels).tolist() == [4, 4, 4]
    seen = {x.tobytes() for part in (data.train, data.test) for x, _ in part}
    assert seen == {pixels(path).tobytes() for path in root.glob("*/*.png")}


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("train", "val"), ("Training", "VALIDATION"), ("train", "valid")],
)
def test_parts(class_folders, train, test):
    class_folders(f"pets/{train}", count=3)
    root = class_folders(f"pets/{test}", count=2).parent
    data = load(root)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    for part, folder in ((data.train, train), (data.test, test)):
        files = sorted((root / folder).glob("*/*.png"))
        for (x, _), file in zip(part, files, strict=True):
            np.testing.assert_array_equal(x, pixels(file))


def test_test_goes_before_validation(class_folders):
    for part, count in (("train", 4), ("val", 3), ("test", 2), ("unlabelled", 1)):
        root = class_folders(f"pets/{part}", count=count).parent
    assert len(load(root).test) == 4


def test_train_alone_is_split(class_folders):
    data = load(class_folders("pets/train", count=10).parent)
    assert (len(data.train), len(data.test)) == (16, 4)


def test_train_may_be_a_class(class_folders):
    assert load(class_folders(classes=("train", "tram"))).classes == ("train", "tram")


def test_grey_stays_grey_and_colour_in_either_part_decides(class_folders):
    class_folders("pets/train", shape=(6, 8))
    root = class_folders("pets/test", shape=(6, 8)).parent
    assert load(root).image_shape == (6, 8, 1)
    assert load(root, mode="rgb").image_shape == (6, 8, 3)
    class_folders("pets/test", shape=(6, 8, 3), count=1)
    assert load(root).image_shape == (6, 8, 3)
    assert load(root, mode="L").image_shape == (6, 8, 1)


def test_sizes(class_folders):
    class_folders("pets/train")
    root = class_folders("pets/test", shape=(8, 6, 3)).parent
    with pytest.raises(DataError, match="pets: images of 2 sizes"):
        load(root)
    assert load(root, image_size=5).image_shape == (5, 5, 3)
    assert load(root, image_size=(4, 7)).image_shape == (4, 7, 3)


def test_suffixes_in_any_case_and_clutter_beside(class_folders):
    class_folders(suffix=".PNG", count=2)
    class_folders(suffix=".JpEg", count=2)
    class_folders(suffix=".WebP", count=2)
    root = class_folders(suffix=".bmp", count=2)
    for folder in (root, root / "cat"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png", "notes.txt"):
            (folder / name).write_bytes(b"junk")
        for name in ("__MACOSX", ".git"):
            (folder / name).mkdir()
    data = load(root)
    assert data.classes == ("cat", "dog")
    assert len(data.train) + len(data.test) == 16


def test_order_does_not_depend_on_the_directory(class_folders, monkeypatch):
    root = class_folders(count=8)
    first = load(root)
    scandir = os.scandir

    class Backwards:
        def __init__(self, path):
            with scandir(path) as scan:
                self.entries = sorted(scan, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *args):
            return None

    monkeypatch.setattr(os, "scandir", Backwards)
    second = load(root)
    for one, other in ((first.train, second.train), (first.test, second.test)):
        np.testing.assert_array_equal(one[:][0], other[:][0])
        np.testing.assert_array_equal(one.labels, other.labels)


class TestLinks:
    def test_inside_are_followed(self, class_folders):
        root = class_folders(count=3)
        (root / "cat" / "9.png").symlink_to("../dog/0.png")
        (root / "cow").symlink_to("dog")
        data = load(root)
        assert data.classes == ("cat", "cow", "dog")
        assert len(data.train) + len(data.test) == 10

    def test_the_root_may_be_one(self, class_folders, tmp_path):
        (tmp_path / "link").symlink_to(class_folders())
        assert load(tmp_path / "link").classes == ("cat", "dog")

    @pytest.mark.parametrize("place", ["cat/9.png", "cow", "train", "notes.txt"])
    def test_outside_are_refused(self, class_folders, tmp_path, place):
        root = class_folders()
        elsewhere = class_folders("elsewhere") / "dog"
        target = elsewhere / "0.png" if "." in place else elsewhere
        (root / place).symlink_to(target)
        with pytest.raises(DataError, match=r"a symbolic link to .*elsewhere.*, outside") as caught:
            load(root)
        assert str(root / place) in str(caught.value)

    def test_to_a_sibling_of_a_similar_name(self, class_folders):
        root = class_folders("pets")
        (root / "cat" / "9.png").symlink_to(class_folders("pets2") / "cat" / "0.png")
        with pytest.raises(DataError, match="outside"):
            load(root)

    @pytest.mark.parametrize("target", ["nowhere.png", "9.png"])
    def test_broken_or_circular(self, class_folders, target):
        root = class_folders()
        (root / "cat" / "9.png").symlink_to(target)
        with pytest.raises(DataError, match="leads nowhere"):
            load(root)

    def test_idx_files_too(self, tmp_path):
        (tmp_path / "mnist").mkdir()
        (tmp_path / "secret").write_bytes(b"key")
        (tmp_path / "mnist" / "train-images-idx3-ubyte").symlink_to(tmp_path / "secret")
        with pytest.raises(DataError, match="outside"):
            load(tmp_path / "mnist")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_does_not_block(class_folders):
    root = class_folders()
    os.mkfifo(root / "cat" / "9.png")
    assert len(load(root).train) == 8


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("classes", "extra", "says"),
    [
        (("cat",), (), "pets: one class only, 'cat'"),
        ((), ("a.png", "b.jpg"), r"pets: 2 images \(such as a.png\) lie outside any class folder"),
        (("cat", "dog"), ("cover.jpg",), r"pets: 1 images \(such as cover.jpg\) lie outside"),
        ((), (), "pets: an empty folder; expected class folders"),
        ((), (".DS_Store",), "pets: an empty folder"),
        ((), ("notes.txt",), "pets: only notes.txt; expected class folders"),
        ((), ("a.csv", "b.csv"), "pets: 2 other files; expected class folders"),
        (("cat",), ("dog/.keep",), "dog: a class folder without images"),
        (("cat",), ("dog/notes.txt",), r"dog: a class folder without images \(1 other files\)"),
        (("cat",), ("dog/a.GIF",), r"a\.GIF: \.GIF files are not read; convert it"),
        (("cat",), ("dog/a.png",), r"dog/a\.png: an empty file \(0 bytes\)"),
        ((), ("pets/cat/a.png", "pets/dog/a.png"), "holds the folder cat.* load .*pets/pets"),
        ((), ("train/a.png", "test/b.png"), "train: holds no class folders"),
        ((), ("train/a.png",), "train: holds no class folders"),
        ((), ("test/cat/a.png", "test/dog/a.png"), "test/ holds class folders, but train/ does"),
        ((), ("train/cat/a.png", "train/dog/a.png", "test/b.png"), "test: 1 images .* lie outside"),
        ((), ("train/cat/a.png", "train/dog/a.png", "test/.x"), "test: an empty folder"),
        ((), ("train/c/a.png", "training/c/a.png"), "train and training both look like the train"),
        (("cat",), ("two\nlines/a.png",), r"two\\nlines: the class name has characters"),
        (("cat", "dog"), ("dog/a\x1b[2J.png",), r"dog/a\\x1b\[2J\.png: an empty file"),
    ],
)
def test_refused(class_folders, tmp_path, classes, extra, says):
    root = tmp_path / "pets"
    root.mkdir()
    if classes:
        class_folders(classes=classes)
    touch(root, *extra)
    with pytest.raises(DataError, match=says) as caught:
        load(root)
    message = str(caught.value)
    assert message.startswith(str(root))
    assert message.isprintable()


def test_classes_of_the_parts_differ(class_folders):
    class_folders("pets/train", classes=("cat", "dog"))
    root = class_folders("pets/test", classes=("cat", "fox")).parent
    with pytest.raises(DataError, match="test: lacks 'dog' and has 'fox' besides; expected the 2"):
        load(root)


def test_a_lone_picture(class_folders):
    class_folders(count=5, classes=("cat",))
    root = class_folders(count=1, classes=("dog",))
    with pytest.raises(DataError, match="pets: class 'dog' has a single image"):
        load(root)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_unreadable_folder(class_folders):
    root = class_folders()
    (root / "cat").chmod(0)
    try:
        with pytest.raises(DataError, match=r"cat: cannot be read \(permission denied\)"):
            load(root)
    finally:
        (root / "cat").chmod(0o700)


def test_unreadable_for_root_too(class_folders, monkeypatch):
    root = class_folders()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "cat":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"cat: cannot be read \(permission denied\)"):
        load(root)
