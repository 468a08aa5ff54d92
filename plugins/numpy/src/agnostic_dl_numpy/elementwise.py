"""Elementwise kernels: large arrays in cache-sized pieces, over the pool's threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from agnostic_dl_numpy import channels, scratch, threads
from agnostic_dl_numpy.checks import takes


def relu(xp: Any, x: Any) -> Any:
    """As the primitive: max(x, 0)."""
    if not _large(x):
        return NotImplemented
    out = scratch.result(x.shape, dtype=x.dtype)
    _in_pieces(lambda x, out: np.maximum(x, 0.0, out=out), x, out)
    return out


def relu_grad(xp: Any, g: Any, out: Any) -> Any:
    """As the primitive: g where out > 0, else 0."""
    if not _large(g) or not takes(g, out) or g.shape != out.shape:
        return NotImplemented
    dx = scratch.result(g.shape, dtype=g.dtype)
    _in_pieces(_keep_positive, g, out, dx)
    return dx


def _keep_positive(g: Any, out: Any, dx: Any) -> None:
    wins = scratch.take("wins", g.shape, np.bool_)
    keep = scratch.as_integers(dx)
    np.copyto(keep, np.greater(out, 0.0, out=wins).view(np.int8))
    np.multiply(keep, scratch.as_integers(g), out=keep)


def add(xp: Any, x: Any, y: Any) -> Any:
    """As the primitive, for two large arrays of one shape, or one and a bias (C,)."""
    if not _large(x) or not takes(x, y):
        return NotImplemented
    out = scratch.result(x.shape, dtype=x.dtype)
    if x.shape == y.shape:
        _in_pieces(lambda x, y, out: np.add(x, y, out=out), x, y, out)
    elif y.shape == x.shape[-1:]:
        arrays = channels.rows(x), channels.rows(out)
        channels.apply(lambda x, out, bias: np.add(x, bias, out=out), arrays, (y,))
    else:
        return NotImplemented
    return out


def multiply(xp: Any, x: Any, y: Any) -> Any:
    """As the primitive, for two large arrays of one shape."""
    if not _large(x) or not takes(x, y) or x.shape != y.shape:
        return NotImplemented
    out = scratch.result(x.shape, dtype=x.dtype)
    _in_pieces(lambda x, y, out: np.multiply(x, y, out=out), x, y, out)
    return out


def _large(x: Any) -> bool:
    return type(x) is np.ndarray and x.size >= threads.WORTHWHILE and takes(x)


def _in_pieces(work: Callable[..., Any], *arrays: Any) -> None:
    """Call *work* on pieces of flat arrays of one shape, the last of them the output."""
    flat = [array.reshape(-1) for array in arrays]
    plan = threads.pieces(flat[0].size, scratch.PASS // (2 * flat[0].itemsize))
    threads.spread(lambda index: work(*(x[slice(*plan[index])] for x in flat)), len(plan))
