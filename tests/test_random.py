"""Threefry: Random123's known answers, the same bits everywhere, and statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agnostic_dl import random

#: Random123's kat_vectors for threefry2x32 with 20 rounds: counter, key, result.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


class Masked:
    """NumPy as a library whose uint32 cannot shift, which PyTorch's cannot."""

    __name__ = "masked"

    def __getattr__(self, name):
        return getattr(np, name)

    def bitwise_left_shift(self, x, by):
        if x.dtype == np.uint32:
            raise TypeError("no shifts for uint32")
        return np.bitwise_left_shift(x, by)


def libraries():
    """Namespaces to compare: NumPy, the int64 variant, strict and, where it is, PyTorch."""
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is absent")
    found = {"numpy": np, "masked": Masked(), "strict": strict}
    try:
        import array_api_compat.torch as torch
    except ImportError:
        return found
    return {**found, "torch": torch}


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers_of_random123(counter, key, result):
    assert random.fold(key, counter[0] << 32 | counter[1]) == result


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers_on_arrays(xp, counter, key, result):
    words = random.fold_array(xp, random.key_array(xp, key), counter)
    assert tuple(int(word[0]) for word in words) == result


def test_known_answer_of_the_first_block(xp):
    drawn = random.bits(xp, (0, 0), 2)
    assert [int(drawn[0]), int(drawn[1])] == list(KNOWN[0][2])


def test_the_masked_variant_is_the_one_compared():
    assert random.bits(Masked(), random.key(0), 4).dtype == np.int64
    assert random.bits(np, random.key(0), 4).dtype == np.uint32


def as_numpy(array):
    return np.asarray(array).astype(np.asarray(array).dtype)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
def test_bits_are_equal_on_every_library(count):
    expected = random.bits(np, random.key(3), count).astype(np.int64)
    assert len(expected) == count
    for name, xp in libraries().items():
        found = as_numpy(random.bits(xp, random.key(3), count)).astype(np.int64)
        assert np.array_equal(found, expected), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniforms_are_equal_to_the_bit_on_every_library(dtype):
    def draw(xp):
        key = random.fold(random.key(1), "layer", 2)
        return as_numpy(random.uniform(xp, key, (17, 5), getattr(xp, dtype), low=-0.3, high=0.7))

    expected = draw(np)
    assert expected.dtype == dtype
    for name, xp in libraries().items():
        assert draw(xp).tobytes() == expected.tobytes(), name


def test_permutations_are_equal_on_every_library():
    expected = random.permutation(np, random.key(9), 1797)
    assert np.array_equal(np.sort(expected), np.arange(1797))
    for name, xp in libraries().items():
        found = as_numpy(random.permutation(xp, random.key(9), 1797))
        assert np.array_equal(found, expected), name


def test_normals_agree_to_the_last_place():
    expected = random.normal(np, random.key(4), (1000,), np.float64)
    for name, xp in libraries().items():
        found = as_numpy(random.normal(xp, random.key(4), (1000,), xp.float64))
        np.testing.assert_allclose(found, expected, rtol=1e-13, err_msg=name)


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 24), ("float64", 53)])
def test_uniforms_fill_the_unit_interval_evenly(dtype, digits):
    n = 100_000
    drawn = random.uniform(np, random.key(0), (n,), np.dtype(dtype).type)
    assert drawn.min() >= 0.0
    assert drawn.max() < 1.0
    scaled = drawn.astype(np.float64) * 2.0**digits
    assert np.array_equal(scaled, np.floor(scaled)), "multiples of the last place"
    assert np.any(scaled % 2 == 1), "the last bit is used"
    counts = np.histogram(drawn, bins=64, range=(0, 1))[0]
    chi_square = float(np.sum((counts - n / 64) ** 2) / (n / 64))
    assert abs(chi_square - 63) < 5 * math.sqrt(2 * 63)
    for lag in (1, 2, n // 2):  # n // 2: the two words of one block
        correlation = np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]
        assert abs(correlation) < 5 / math.sqrt(n // 2)


def test_uniforms_in_float16_are_those_of_float32_with_the_digits_it_has():
    short, long = (random.uniform(np, (1, 2), (4096,), d) for d in (np.float16, np.float32))
    np.testing.assert_array_equal(short, np.floor(long * 2**11) / 2**11)


def test_normals_have_mean_0_and_variance_1():
    n = 100_000
    drawn = random.normal(np, random.key(0), (n,), np.float64)
    assert abs(drawn.mean()) < 5 / math.sqrt(n)
    assert abs(drawn.var() - 1.0) < 5 * math.sqrt(2 / n)
    assert abs(np.mean(np.abs(drawn) < 1.0) - math.erf(math.sqrt(0.5))) < 5 * 0.5 / math.sqrt(n)


def test_every_place_of_a_permutation_is_as_likely():
    orders = np.stack(
        [random.permutation(np, random.fold(random.key(1), k), 5) for k in range(2000)]
    )
    for place in range(5):
        counts = np.bincount(orders[:, place], minlength=5)
        assert np.max(np.abs(counts - 400)) < 5 * math.sqrt(2000 * 0.2 * 0.8)


def test_folding_depends_on_every_datum_and_on_their_order():
    base = random.key(5)
    keys = [
        base, random.fold(base, 0), random.fold(base, 1), random.fold(base, "a"),
        random.fold(base, "b"), random.fold(base, 1, 2), random.fold(base, 2, 1),
        random.fold(base, "a", "b"), random.fold(base, "ab"), random.fold(random.key(6), 0),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert random.fold(base, "a", 1) == random.fold(random.fold(base, "a"), 1)


def test_seeds_beyond_32_bits_and_below_0_count():
    seeds = [0, 1, 2**32, 2**32 + 1, -1, 2**63]
    assert len({random.key(seed) for seed in seeds}) == len(seeds)


def test_names_stand_for_the_same_words_in_every_process(python):
    done = python(
        "from agnostic_dl import random; print(*random.name_words('conv1.weight'))",
        PYTHONHASHSEED="1",
    )
    assert done.stdout.split() == [str(word) for word in random.name_words("conv1.weight")]
