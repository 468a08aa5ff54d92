"""Counter-based random numbers: Threefry-2x32 with 20 rounds, in standard array operations.

A key is a pair of 32-bit integers, folded from a seed and from names or numbers; the numbers drawn
depend on the key alone, never on the order of execution. Integers and uniforms are the same to the
bit on every backend; normals agree to the last place.

Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

Key = tuple[int, int]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_MASK = 0xFFFFFFFF


class _PythonWords:
    """32-bit arithmetic on Python integers."""

    @staticmethod
    def add(x: Any, y: Any) -> Any:
        return (x + y) & _MASK

    @staticmethod
    def rotate(x: Any, by: int) -> Any:
        return ((x << by) | (x >> (32 - by))) & _MASK

    @staticmethod
    def xor(x: Any, y: Any) -> Any:
        return x ^ y


class _ArrayWords:
    """32-bit arithmetic on uint32 arrays, which wrap by themselves."""

    def __init__(self, xp: Any) -> None:
        self.xp, self.dtype = xp, xp.uint32

    def constant(self, value: int, device: Any) -> Any:
        # One element, not 0-d: NumPy's scalars warn where arrays wrap.
        return self.xp.full((1,), value, dtype=self.dtype, device=device)

    def add(self, x: Any, y: Any) -> Any:
        return self.xp.add(x, y)

    def rotate(self, x: Any, by: int) -> Any:
        left = self.xp.bitwise_left_shift(x, self.constant(by, _device(x)))
        right = self.xp.bitwise_right_shift(x, self.constant(32 - by, _device(x)))
        return self.xp.bitwise_or(left, right)

    def xor(self, x: Any, y: Any) -> Any:
        return self.xp.bitwise_xor(x, y)


class _MaskedWords(_ArrayWords):
    """32-bit arithmetic on int64 arrays, for libraries whose uint32 cannot add or shift."""

    def __init__(self, xp: Any) -> None:
        self.xp, self.dtype = xp, xp.int64

    def _cut(self, x: Any) -> Any:
        return self.xp.bitwise_and(x, self.constant(_MASK, _device(x)))

    def add(self, x: Any, y: Any) -> Any:
        return self._cut(self.xp.add(x, y))

    def rotate(self, x: Any, by: int) -> Any:
        return self._cut(super().rotate(x, by))


def _device(x: Any) -> Any:
    from array_api_compat import device

    return device(x)


_WORDS: dict[Any, _ArrayWords] = {}


def _words(xp: Any) -> _ArrayWords:
    """The arithmetic that this library can do, found out once by trying."""
    if xp not in _WORDS:
        words = _ArrayWords(xp)
        try:
            one = words.constant(_MASK, None)
            words.rotate(words.add(one, one), 3)
        except (TypeError, NotImplementedError, RuntimeError, AttributeError):
            words = _MaskedWords(xp)
        _WORDS[xp] = words
    return _WORDS[xp]


def _threefry(words: Any, key: tuple[Any, Any], counter: tuple[Any, Any], parity: Any) -> Any:
    """One block: 64 bits of key and 64 bits of counter to 64 random bits, as two words."""
    schedule = (key[0], key[1], words.xor(words.xor(key[0], key[1]), parity))
    x0, x1 = words.add(counter[0], schedule[0]), words.add(counter[1], schedule[1])
    for group in range(5):
        for by in _ROTATIONS[group % 2]:
            x0 = words.add(x0, x1)
            x1 = words.xor(words.rotate(x1, by), x0)
        x0 = words.add(x0, schedule[(group + 1) % 3])
        x1 = words.add(x1, words.add(schedule[(group + 2) % 3], _group_number(x1, group + 1)))
    return x0, x1


def _group_number(like: Any, number: int) -> Any:
    """*number* as the same kind of word as *like*."""
    if isinstance(like, int):
        return number
    from array_api_compat import array_namespace

    return array_namespace(like).full((1,), number, dtype=like.dtype, device=_device(like))


def key(seed: int) -> Key:
    """Make a key of a seed: any integer, of which the low 64 bits count."""
    return (int(seed) >> 32) & _MASK, int(seed) & _MASK


def fold(parent: Key, *data: int | str) -> Key:
    """Derive a key from *parent* and names or numbers, in order; different data, other numbers."""
    for item in data:
        counter = name_words(item) if isinstance(item, str) else key(item)
        parent = _threefry(_PythonWords, parent, counter, _PARITY)
    return parent


def name_words(name: str) -> Key:
    """64 bits that stand for a name: the same on every machine and in every process."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return key(int.from_bytes(digest, "big"))


def key_array(xp: Any, key: Key, *, device: Any = None) -> Any:
    """The key as an array of shape (2,), for primitives that take it as an input."""
    return xp.asarray(list(key), dtype=_words(xp).dtype, device=device)


def fold_array(xp: Any, parent: Any, data: Key) -> tuple[Any, Any]:
    """As :func:`fold` for one pair of words, on a key array of shape (2,): two arrays (1,)."""
    words, device = _words(xp), _device(parent)
    counter = (words.constant(data[0], device), words.constant(data[1], device))
    parity = words.constant(_PARITY, device)
    return _threefry(words, (parent[0:1], parent[1:2]), counter, parity)


def bits(xp: Any, key: Key | tuple[Any, Any], count: int, *, device: Any = None) -> Any:
    """Draw *count* words of 32 random bits: shape (count,), unsigned values in uint32 or int64."""
    words = _words(xp)
    if isinstance(key[0], int):
        key = (words.constant(key[0], device), words.constant(key[1], device))
    blocks = (count + 1) // 2
    low = xp.astype(xp.arange(blocks, dtype=xp.int64, device=device), words.dtype)
    pair = _threefry(words, key, (low, xp.zeros_like(low)), words.constant(_PARITY, device))
    return xp.concat(pair)[:count]


def uniform(
    xp: Any, key: Key, shape: tuple[int, ...], dtype: Any, *, low: float = 0.0, high: float = 1.0,
    device: Any = None,
) -> Any:  # fmt: skip
    """Draw uniforms in [low, high): multiples of 2⁻²⁴ (float32) or 2⁻⁵³ (float64), then scaled.

    In float16 of 2⁻¹¹, which is what it holds below 1.
    """
    size = math.prod(shape)
    if dtype == xp.float64:
        # 27 + 26 bits: the 53 that a float64 holds exactly.
        pair = bits(xp, key, 2 * size, device=device)
        high_part = xp.astype(_shift_right(xp, pair[:size], 5), dtype)
        low_part = xp.astype(_shift_right(xp, pair[size:], 6), dtype)
        unit = (high_part * 2.0**26 + low_part) * 2.0**-53
    else:
        kept = 11 if dtype == getattr(xp, "float16", None) else 24  # 2²⁴ is infinite in float16
        words = _shift_right(xp, bits(xp, key, size, device=device), 32 - kept)
        unit = xp.astype(words, dtype) * 2.0**-kept
    unit = xp.reshape(unit, shape)
    return unit if (low, high) == (0.0, 1.0) else unit * (high - low) + low


def _shift_right(xp: Any, words: Any, by: int) -> Any:
    # By way of int64: exact for 32-bit words, and every library converts it to floating point.
    return xp.bitwise_right_shift(
        xp.astype(words, xp.int64), xp.asarray([by], dtype=xp.int64, device=_device(words))
    )


def normal(xp: Any, key: Key, shape: tuple[int, ...], dtype: Any, *, device: Any = None) -> Any:
    """Draw standard normals by Box and Muller's transform, computed in float64."""
    size = math.prod(shape)
    radius = xp.sqrt(
        -2.0 * xp.log1p(-uniform(xp, fold(key, 0), (size,), xp.float64, device=device))
    )
    angle = 2.0 * math.pi * uniform(xp, fold(key, 1), (size,), xp.float64, device=device)
    return xp.reshape(xp.astype(radius * xp.cos(angle), dtype), shape)


def permutation(xp: Any, key: Key, count: int, *, device: Any = None) -> Any:
    """A random order of range(count): int64 indices, by sorting 62 random bits per index."""
    pair = xp.astype(bits(xp, key, 2 * count, device=device), xp.int64)
    top = xp.bitwise_left_shift(pair[:count], xp.asarray([30], dtype=xp.int64, device=device))
    low = _shift_right(xp, pair[count:], 2)
    return xp.argsort(xp.bitwise_or(top, low), stable=True)
