from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agnostic_dl.data import Data, Dataset, from_arrays, split
from agnostic_dl.errors import DataError, UsageError


def make(count: int = 10, classes: int = 2, dtype=np.uint8) -> Dataset:
    images = np.arange(count * 2 * 3 * 1).reshape(count, 2, 3, 1) % 256
    images = images.astype(dtype) if dtype == np.uint8 else (images / 255).astype(dtype)
    return Dataset(images, np.arange(count) % classes, [f"class{k}" for k in range(classes)])


def test_properties():
    dataset = make()
    assert len(dataset) == 10
    assert dataset.image_shape == (2, 3, 1)
    assert dataset.classes == ("class0", "class1")
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [0, 1] * 5
    assert repr(dataset) == "Dataset(10 images of 2×3×1, 2 classes)"
    data = Data(dataset, dataset, "toy")
    assert (data.classes, data.image_shape) == (dataset.classes, (2, 3, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    "indices",
    [
        slice(None),
        slice(2, 7, 2),
        slice(None, None, -1),
        slice(8, 100),
        [3, 0, 3],
        (1, 2),
        range(4),
        np.array([5, -1]),
        np.array([5, 1], dtype=np.uint8),
        np.arange(10) > 6,
        [],
    ],
    ids=str,
)
def test_batches_equal_numpy_indexing(indices, dtype):
    dataset = make(dtype=dtype)
    plain = indices if isinstance(indices, slice | np.ndarray) else np.array(indices, dtype=int)
    rows = np.arange(10)[plain]
    x, y = dataset[indices]
    whole = np.arange(60).reshape(10, 2, 3, 1).astype(np.float32) / 255
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    np.testing.assert_allclose(x, whole[rows], rtol=1e-7)
    np.testing.assert_array_equal(y, rows % 2)


def test_uint8_covers_exactly_zero_to_one():
    images = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    x, _ = Dataset(images, np.zeros(256, int), ["a"])[:]
    np.testing.assert_array_equal(x.ravel(), np.arange(256, dtype=np.float32) / np.float32(255))
    assert (x.min(), x.max()) == (0.0, 1.0)


@pytest.mark.parametrize("index", [3, np.int64(3), np.array(3), -7])
def test_an_integer_gives_one_picture(index):
    x, y = make()[index]
    assert x.shape == (2, 3, 1)
    assert y.shape == ()
    assert int(y) == 1


def test_what_comes_out_is_the_callers_own():
    dataset = make(dtype=np.float32)
    x, y = dataset[:]
    x[...] = 7
    y[...] = 7
    assert dataset[:][0].max() < 1
    assert dataset.labels.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        dataset.labels[0] = 1


@pytest.mark.parametrize("index", [10, -11, [0, 10], np.array([2**40])])
def test_out_of_range(index):
    with pytest.raises(IndexError, match="out of range for 10 images") as caught:
        make()[index]
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize(
    "index", [1.5, "cat", None, [0.0], [[0, 1]], np.ones(3, bool), [[1], [1, 2]]], ids=str
)
def test_not_an_index(index):
    with pytest.raises(UsageError, match="index"):
        make()[index]


def test_iteration_ends():
    assert [int(y) for _, y in make(4)] == [0, 1, 0, 1]


def test_subsets_compose_and_share_memory():
    dataset = make()
    part = dataset.subset([9, 4, 2, 7]).subset(slice(1, None))
    assert len(part) == 3
    np.testing.assert_array_equal(part[:][0], dataset[[4, 2, 7]][0])
    np.testing.assert_array_equal(part.labels, dataset.labels[[4, 2, 7]])
    assert np.shares_memory(part._images, dataset._images)
    assert len(dataset) == 10
    assert len(dataset.subset([])) == 0


def test_batches_follow_the_order():
    dataset = make()
    order = np.array([7, 1, 9, 0, 4])
    batches = list(dataset.batches(order, 2))
    assert [len(y) for _, y in batches] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), dataset[order][0])
    with pytest.raises(UsageError, match="batch_size"):
        dataset.batches(order, 0)


def test_copies_and_pickles():
    dataset = make().subset([1, 3])
    for other in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        np.testing.assert_array_equal(other[:][0], dataset[:][0])


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((2, 3, 3), np.uint8), np.zeros(2, int)),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros(3, int)),
        (np.zeros((2, 3, 3, 1)), np.zeros(2, int)),
    ],
)
def test_refuses_other_forms(images, labels):
    with pytest.raises(DataError, match=r"a dataset (needs|keeps) images"):
        Dataset(images, labels, ["a"])


class TestSplit:
    @given(
        counts=st.lists(st.integers(2, 30), min_size=1, max_size=5),
        fraction=st.floats(0.01, 0.99),
        seed=st.integers(0, 5),
    )
    def test_parts_every_class_once(self, counts, fraction, seed):
        labels = np.repeat(np.arange(len(counts)), counts)
        labels = np.random.default_rng(seed).permutation(labels)
        images = np.arange(len(labels), dtype=np.float32).reshape(-1, 1, 1, 1) / 1000
        dataset = Dataset(images, labels, [str(k) for k in range(len(counts))])
        rest, held = split(dataset, fraction, seed)
        both = np.concatenate([rest[:][0], held[:][0]]).ravel()
        np.testing.assert_array_equal(np.sort(both), images.ravel())
        for label, count in enumerate(counts):
            taken = int((held.labels == label).sum())
            assert 1 <= taken <= count - 1
            assert abs(taken - count * fraction) <= 1

    def test_keeps_the_order(self):
        for part in split(make(50), 0.3):
            firsts = part[:][0][:, 0, 0, 0]
            assert (np.diff(firsts.astype(float)) != 0).all()
            assert len(part) == len(np.unique(part._rows))
            assert (np.diff(part._rows) > 0).all()

    def test_is_fixed_for_all_time(self):
        """Frozen numbers: a change would move pictures between training and test of old runs."""
        assert split(make(20), 0.2, seed=0)[1]._rows.tolist() == [0, 5, 7, 8]
        assert split(make(20), 0.2, seed=1)[1]._rows.tolist() == [2, 10, 13, 17]

    def test_of_a_part_has_no_absent_classes(self):
        dataset = make(20, classes=4)
        rest, held = split(dataset.subset(dataset.labels != 2))
        assert set(rest.labels.tolist()) == set(held.labels.tolist()) == {0, 1, 3}

    def test_a_lone_picture_cannot_be_parted(self):
        with pytest.raises(DataError, match="class 'class1' has a single image"):
            split(Dataset(np.zeros((3, 1, 1, 1), np.uint8), np.array([0, 1, 0]), make().classes))

    @pytest.mark.parametrize("fraction", [0, 1, -0.1, 20, float("nan")])
    def test_fraction(self, fraction):
        with pytest.raises(UsageError, match="fraction"):
            split(make(), fraction)

    def test_seed(self):
        with pytest.raises(UsageError, match="seed"):
            split(make(), 0.5, 1.5)


class TestFromArrays:
    def test_lists_and_names(self):
        dataset = from_arrays([[[0, 255]], [[51, 0]]], [0, 1], classes=["off", "on"])
        assert dataset.classes == ("off", "on")
        np.testing.assert_array_equal(dataset[1][0], np.float32([[[0.2], [0]]]))

    def test_number_of_names(self):
        with pytest.raises(DataError, match="2 classes, but 1 class names"):
            from_arrays(np.zeros((2, 1, 1)), [0, 1], classes=["off"])
