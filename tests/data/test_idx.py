from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from agnostic_dl.data import load
from agnostic_dl.data.idx import read_idx
from agnostic_dl.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 5, 4), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 3


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    """The format, written down a second time."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.tobytes()


def write(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(gzip.compress(content) if name.lower().endswith("gz") else content)


def fill(folder: Path, images: str, labels: str, of=slice(None), pixels=IMAGES) -> None:
    write(folder, images, idx(pixels[of]))
    write(folder, labels, idx(LABELS[of]))


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("TRAIN-IMAGES-IDX3-UBYTE.GZ", "Train-Labels-idx1-ubyte"),
        ("emnist-digits-train-images-idx3-ubyte", "emnist-digits-train-labels-idx1-ubyte"),
        ("images-idx3-ubyte", "labels-idx1-ubyte"),
    ],
)
def test_names(tmp_path, images, labels):
    fill(tmp_path, images, labels)
    data = load(tmp_path)
    assert (len(data.train), len(data.test)) == (9, 3)
    assert data.classes == ("0", "1", "2")
    assert data.image_shape == (5, 4, 1)


@pytest.mark.parametrize("test", ["t10k", "test", "validation"])
def test_both_parts(tmp_path, test):
    fill(tmp_path, "train-images-idx3-ubyte", "train-labels-idx1-ubyte", slice(0, 8))
    fill(tmp_path, f"{test}-images-idx3-ubyte.gz", f"{test}-labels-idx1-ubyte.gz", slice(8, 12))
    write(tmp_path, ".DS_Store", b"junk")
    write(tmp_path, "._train-images-idx3-ubyte", b"junk")
    data = load(str(tmp_path))
    for part, rows in ((data.train, slice(0, 8)), (data.test, slice(8, 12))):
        x, y = part[:]
        np.testing.assert_array_equal(x[..., 0], IMAGES[rows] / np.float32(255))
        np.testing.assert_array_equal(y, LABELS[rows])


@pytest.mark.parametrize("channels", [1, 3])
def test_four_dimensions(tmp_path, channels):
    pixels = np.repeat(IMAGES[..., None], channels, axis=3)
    fill(tmp_path, "train-images-idx4-ubyte", "train-labels-idx1-ubyte", pixels=pixels)
    assert load(tmp_path).image_shape == (5, 4, channels)


def test_channels_first_is_suspected(tmp_path):
    pixels = np.zeros((12, 3, 8, 8), np.uint8)
    fill(tmp_path, "train-images-idx4-ubyte", "train-labels-idx1-ubyte", pixels=pixels)
    with pytest.raises(DataError, match=r"look like \(N, C, H, W\)"):
        load(tmp_path)


def test_plain_beside_gzipped_counts_once(tmp_path):
    fill(tmp_path, "train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    fill(tmp_path, "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    assert len(load(tmp_path).train) == 9


def test_unzipped_by_a_browser_under_the_old_name(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(idx(IMAGES))
    write(tmp_path, "train-labels-idx1-ubyte.gz", idx(LABELS))
    assert len(load(tmp_path).train) == 9


def test_two_datasets_in_a_folder(tmp_path):
    fill(tmp_path, "a-train-images-idx3-ubyte", "a-train-labels-idx1-ubyte")
    fill(tmp_path, "b-train-images-idx3-ubyte", "b-train-labels-idx1-ubyte")
    with pytest.raises(DataError, match=r"two IDX files of train images, a-train.* and b-train"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("train-labels-idx1-ubyte", "no IDX file of the train labels.*train-labels-idx1-ubyte"),
        ("train-images-idx3-ubyte", "no IDX file of the train images"),
        ("t10k-labels-idx1-ubyte", "no IDX file of the test labels.*t10k-labels-idx1-ubyte"),
    ],
)
def test_missing_file(tmp_path, missing, says):
    for part in ("train", "t10k"):
        fill(tmp_path, f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
    (tmp_path / missing).unlink()
    with pytest.raises(DataError, match=says):
        load(tmp_path)


def test_numbers_differ(tmp_path):
    write(tmp_path, "train-images-idx3-ubyte", idx(IMAGES))
    write(tmp_path, "train-labels-idx1-ubyte", idx(LABELS[:11]))
    with pytest.raises(DataError, match="12 images, but 11 labels"):
        load(tmp_path)


def test_labels_and_images_swapped(tmp_path):
    write(tmp_path, "train-images-idx3-ubyte", idx(LABELS))
    write(tmp_path, "train-labels-idx1-ubyte", idx(IMAGES))
    with pytest.raises(DataError, match=r"begin with the bytes 00000803 or 00000804.*got 00000801"):
        load(tmp_path)


GOOD = idx(IMAGES)
SQUEEZED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "got an empty file"),
        (GOOD[:2], "got 0000"),
        (b"PNG nonsense", "got 504e4720"),
        (idx(IMAGES, kind=0x0D), "got 00000d03"),
        (GOOD[:10], "truncated within its header"),
        (GOOD[:-1], r"promises 256 bytes \(12, 5, 4\), but the file has 255"),
        (GOOD + b"x", "promises 256 bytes.* but the file has 257"),
        (idx(IMAGES[:0]), "no data"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "promises .* but the file has 16"),
        (SQUEEZED[:-9], "ended before the end-of-stream|truncated"),
        (SQUEEZED[:40], "ended before the end-of-stream|truncated"),
        (SQUEEZED[:-8] + b"\0" * 8, "crc check failed"),
        (SQUEEZED[:60] + b"\xff" * 30 + SQUEEZED[90:], "crc check failed|invalid"),
        (gzip.compress(GOOD[:-3], mtime=0), "truncated: 237 of 240 bytes"),
        (gzip.compress(GOOD + b"x", mtime=0), "more data than its header says"),
        (gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12, mtime=0), "promises .* can hold at most"),
    ],
)
def test_damage(tmp_path, content, says):
    path = tmp_path / "x-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read_idx(path, (3, 4))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_not_inflated(tmp_path):
    """4 KB that would become 4 MB behind an honest small header: reading stops after a byte."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(4_000_000)))
    with pytest.raises(DataError, match="more data"):
        read_idx(path, (3,))


def test_unreadable(tmp_path, monkeypatch):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(GOOD)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(permission denied\)"):
        read_idx(path, (3,))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.arange(1, 13), "without 0; expected every integer from 0 to 11"),
        (np.array([0, 1, 3] * 4), "3 different labels from 0 to 3, without 2"),
        (np.zeros(12), "all labels are 0"),
    ],
)
def test_labels(tmp_path, labels, says):
    write(tmp_path, "train-images-idx3-ubyte", idx(IMAGES))
    write(tmp_path, "train-labels-idx1-ubyte", idx(labels.astype(np.uint8)))
    with pytest.raises(DataError, match=says):
        load(tmp_path)


def test_labels_of_the_test_part(tmp_path):
    fill(tmp_path, "train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    write(tmp_path, "t10k-images-idx3-ubyte", idx(IMAGES))
    write(tmp_path, "t10k-labels-idx1-ubyte", idx(LABELS + np.uint8(1)))
    with pytest.raises(DataError, match=r"test part: label 3 is out of range.*classes 0 to 2"):
        load(tmp_path)


def test_parts_of_two_sizes(tmp_path):
    fill(tmp_path, "train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    fill(tmp_path, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", pixels=IMAGES[:, :4])
    with pytest.raises(
        DataError, match=r"training images are 5×4×1, test images 4×4×1.*image_size"
    ):
        load(tmp_path)
    assert load(tmp_path, image_size=4).image_shape == (4, 4, 1)


def test_mnist(real_data):
    if not (real_data / "mnist").is_dir():
        pytest.skip(f"no mnist/ in {real_data}")
    data = load(real_data / "mnist")
    assert (len(data.train), len(data.test), data.name) == (60_000, 10_000, "mnist")
    assert data.classes == tuple("0123456789")
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.image_shape == (28, 28, 1)
    raw = read_idx(real_data / "mnist" / "train-images-idx3-ubyte.gz", (3,))
    digest = hashlib.md5(b"\0\0\x08\x03" + struct.pack(">3I", *raw.shape) + raw.tobytes())
    assert digest.hexdigest() == "6bbc9ace898e44ae57da46a324031adb"
    assert data.train[:1000][0].mean() == pytest.approx(raw[:1000].mean() / 255, abs=1e-6)


@pytest.mark.parametrize("length", range(8))
def test_a_file_cut_within_its_head_is_named(tmp_path, length):
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 5])[:length])
    with pytest.raises(DataError, match=path.name):
        read_idx(path, (1,))
