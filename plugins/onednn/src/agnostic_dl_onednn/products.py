"""Products of two matrices."""

from __future__ import annotations

from ctypes import c_char, c_float, c_int64, c_void_p
from functools import cache, partial
from typing import Any

import numpy as np

from agnostic_dl_numpy import scratch
from agnostic_dl_onednn import library
from agnostic_dl_onednn.primitive import address, perform

#: Multiplications below which a call costs more than it saves.
_WORTHWHILE = 1 << 18


def matmul(xp: Any, x: Any, y: Any) -> Any:
    """As the primitive, for two large matrices, each in order or transposed."""
    if not _takes(x, y):
        return NotImplemented
    return _product(x, y)


def linear(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    """As the primitive: x (..., in) times weight (in, out), plus bias (out,)."""
    if type(x) is not np.ndarray or x.ndim < 2 or not x.flags.c_contiguous:
        return NotImplemented
    rows = x.reshape(-1, x.shape[-1])
    if not _takes(rows, weight) or bias.dtype != x.dtype or bias.shape != weight.shape[1:]:
        return NotImplemented
    return _product(rows, weight, bias, x.shape[:-1])


def _takes(x: Any, y: Any) -> bool:
    if not (_is_matrix(x) and _is_matrix(y)) or x.shape[1] != y.shape[0]:
        return False
    return x.size * y.shape[1] >= _WORTHWHILE and _leading(x) is not None is not _leading(y)


def _is_matrix(x: Any) -> bool:
    return type(x) is np.ndarray and x.ndim == 2 and x.dtype == np.float32 and x.size > 0


def _leading(x: Any) -> tuple[bytes, int] | None:
    """How the library reads a matrix: "N" row by row or "T" transposed, and how far apart."""
    down, across = x.strides
    size = x.itemsize
    if across == size and down >= size * x.shape[1] and down % size == 0:
        return b"N", down // size
    if down == size and across >= size * x.shape[0] and across % size == 0:
        return b"T", across // size
    return None


def _product(x: Any, y: Any, bias: Any = None, shape: tuple[int, ...] = ()) -> Any:
    """x times y, plus a bias; *shape*: that of the rows in the result, if not theirs."""
    (rows, depth), columns = x.shape, y.shape[1]
    out = scratch.result((*(shape or (rows,)), columns), x.dtype)
    (turned, apart), (other, between) = _leading(x), _leading(y)  # type: ignore[misc]
    library.threads()
    calls = [partial(
        _sgemm(), turned, other, rows, columns, depth, 1.0, address(x), apart, address(y),
        between, 0.0, address(out), columns,
    )]  # fmt: skip
    if bias is not None:
        calls.append(partial(np.add, out, bias, out=out))
    perform(lambda: [call() for call in calls], lambda: calls)
    return out


@cache
def _sgemm() -> Any:
    """The library's function, which takes plain numbers and raises where it fails."""
    matrix = [c_void_p, c_int64]
    library.loaded().dnnl_sgemm.argtypes = [
        c_char, c_char, c_int64, c_int64, c_int64, c_float, *matrix, *matrix, c_float, *matrix
    ]  # fmt: skip
    return partial(library.call, "dnnl_sgemm")
