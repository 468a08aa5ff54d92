from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from agnostic_dl.data import load
from agnostic_dl.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 5, 4), dtype=np.uint8)
LABELS = np.arange(12) % 3


def save(folder: Path, **arrays) -> Path:
    np.savez_compressed(folder / "toy.npz", **arrays)
    return folder / "toy.npz"


@pytest.mark.parametrize(
    "keys",
    [
        "x_train y_train x_test y_test",
        "X_train Y_train X_test Y_test",
        "train_images train_labels test_images test_labels",
        "train_images train_labels val_images val_labels",
        "x_train y_train x_val y_val",
    ],
)
def test_both_parts(tmp_path, keys):
    arrays = (IMAGES[:8], LABELS[:8], IMAGES[8:], LABELS[8:])
    data = load(save(tmp_path, **dict(zip(keys.split(), arrays, strict=True))))
    assert data.name == "toy"
    np.testing.assert_array_equal(data.train[:][0][..., 0], IMAGES[:8] / np.float32(255))
    np.testing.assert_array_equal(data.test[:][0][..., 0], IMAGES[8:] / np.float32(255))
    np.testing.assert_array_equal(data.test.labels, LABELS[8:])


@pytest.mark.parametrize(
    "keys", ["x y", "images labels", "x_train y_train", "train_images train_labels"]
)
def test_one_part_is_split(tmp_path, keys):
    images, labels = keys.split()
    data = load(save(tmp_path, **{images: IMAGES, labels: LABELS}))
    assert (len(data.train), len(data.test)) == (9, 3)
    assert sorted(data.test.labels.tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (IMAGES[..., None], LABELS),
        (IMAGES.astype(np.int64), LABELS.astype(np.uint8)),
        (IMAGES / 255, LABELS),
        ((IMAGES / np.float32(255)), LABELS[:, None]),
        (np.asfortranarray(IMAGES), LABELS),
        (IMAGES.astype(">i2"), LABELS.astype(">i4")),
    ],
)
def test_layouts_and_types(tmp_path, images, labels):
    data = load(save(tmp_path, x=images, y=labels, x_test=images, y_test=labels))
    x, y = data.train[:]
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[..., 0], IMAGES / 255, rtol=1e-6)
    np.testing.assert_array_equal(y, LABELS)


def test_truth_values_and_half_floats(tmp_path):
    bits = IMAGES > 127
    x, _ = load(save(tmp_path, x=bits, y=LABELS, x_test=bits, y_test=LABELS)).train[:]
    np.testing.assert_array_equal(x[..., 0], bits.astype(np.float32))
    data = load(save(tmp_path, x=bits.astype(np.float16), y=LABELS))
    assert data.train[:][0].max() == 1


def test_uncompressed(tmp_path):
    np.savez(tmp_path / "toy.npz", x=IMAGES, y=LABELS)
    assert len(load(tmp_path / "toy.npz").train) == 9


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"a": IMAGES, "b": LABELS}, "expected the keys x_train, y_train or .*, got a, b"),
        ({}, "got none"),
        ({"x_train": IMAGES}, "has the key 'x_train', but not 'y_train'; got x_train"),
        ({"x": IMAGES, "y": LABELS, "y_test": LABELS}, "'y_test', but not 'x_test'"),
        ({"x": IMAGES, "y": LABELS[:5]}, "12 images, but 5 labels"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, "holds no images"),
        ({"x": IMAGES.reshape(12, 20), "y": LABELS}, r"\(N, H, W, C\), got \(12, 20\)"),
        ({"x": np.uint8(3), "y": LABELS}, r"\(N, H, W, C\), got \(\)"),
        ({"x": np.zeros((12, 3, 8, 8)), "y": LABELS}, r"look like \(N, C, H, W\).*transpose"),
        ({"x": np.zeros((12, 1, 8, 8)), "y": LABELS}, r"look like \(N, C, H, W\)"),
        ({"x": IMAGES.astype(float), "y": LABELS}, r"within \[0, 1\], got 0 to 25\d; rescale"),
        ({"x": IMAGES / 127.5 - 1, "y": LABELS}, r"within \[0, 1\], got -"),
        ({"x": IMAGES * np.nan, "y": LABELS}, r"within \[0, 1\], got nan"),
        ({"x": IMAGES.astype(int) * 2, "y": LABELS}, r"int64 images must lie within 0\.\.255"),
        ({"x": IMAGES.astype(str), "y": LABELS}, "images must be numbers, got <U"),
        ({"x": IMAGES * 1j, "y": LABELS}, "images must be numbers, got complex"),
        ({"x": IMAGES, "y": LABELS.astype(float)}, "labels must be integers.*float64"),
        ({"x": IMAGES, "y": LABELS.astype(str)}, "labels must be integers"),
        ({"x": IMAGES, "y": np.eye(3)[LABELS]}, r"turn one-hot labels into integers .*argmax"),
        ({"x": IMAGES, "y": LABELS - 1}, "from -1 to 1, without 0|without 2"),
        ({"x": IMAGES, "y": LABELS * 2}, "3 different labels from 0 to 4, without 1"),
        ({"x": IMAGES, "y": LABELS * 10**15}, "without 1"),
    ],
)
def test_refused(tmp_path, arrays, says):
    path = save(tmp_path, **arrays)
    with pytest.raises(DataError, match=says) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message


def test_pickles_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return warnings.warn, ("the pickle ran",)  # an error, were it called

    ragged = np.array([Bomb(), np.zeros(2)], dtype=object)
    path = save(tmp_path, x=ragged, y=LABELS[:2])
    with pytest.raises(DataError, match="pickled Python objects, which could run code"):
        load(path)


def test_not_an_archive(tmp_path):
    path = tmp_path / "toy.npz"
    path.write_bytes(b"junk")
    with pytest.raises(DataError, match=r"not a readable \.npz archive \(File is not a zip"):
        load(path)
    np.save(tmp_path / "toy.npy", IMAGES)
    with pytest.raises(DataError, match=r"not a dataset.* \.npz archive"):
        load(tmp_path / "toy.npy")


def test_an_archive_under_another_name(tmp_path):
    path = save(tmp_path, x=IMAGES, y=LABELS).rename(tmp_path / "toy.zip")
    assert len(load(path).train) == 9


def test_a_zip_of_pictures(tmp_path):
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/0.png", b"")
    with pytest.raises(DataError, match="extract other archives first"):
        load(path)


def rewritten(path: Path, change) -> Path:
    """The archive with the bytes of x.npy changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["x.npy"] = change(members["x.npy"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b[:-1], "damaged: its header promises 368 bytes"),
        (lambda b: b + b"x", "damaged: its header promises"),
        (lambda b: b"\x93NUMPY\x03" + b[7:], "format .3, 0. is not read"),
        (lambda b: b"junk", "not a readable"),
        (lambda b: b.replace(b"(12, 5, 4)", b"(1<<9,5,4)"), "not a readable"),
        (lambda b: b.replace(b"(12, 5, 4), }  ", b"(999999999999,)}"[:15]), "not a r|damaged"),
    ],
)
def test_damaged_member(tmp_path, change, says):
    path = rewritten(save(tmp_path, x=IMAGES, y=LABELS), change)
    with pytest.raises(DataError, match=says):
        load(path)


def test_a_huge_promise_is_not_allocated(tmp_path):
    """A header that promises 4 TB in a file of a kilobyte."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (2**42, 1, 1)}
    )
    path = rewritten(save(tmp_path, x=IMAGES, y=LABELS), lambda _: header.getvalue() + b"x")
    with pytest.raises(DataError, match="damaged"):
        load(path)


def test_truncated(tmp_path):
    path = save(tmp_path, x=IMAGES, y=LABELS)
    content = path.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match="not a readable"):
            load(path)


def test_bits_flipped_within(tmp_path):
    path = save(tmp_path, x=IMAGES, y=LABELS)
    content = bytearray(path.read_bytes())
    content[120:140] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a readable|damaged"):
        load(path)
