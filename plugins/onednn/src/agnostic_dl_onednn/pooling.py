"""Max-pooling and its adjoint.

The library remembers each window's winner, which a recorded program keeps. The adjoint alone finds
it again by a forward pass of its own, which is still quicker than comparing.
"""

from __future__ import annotations

from ctypes import byref, c_int, c_void_p
from functools import lru_cache
from typing import Any

import numpy as np

from agnostic_dl_numpy import scratch
from agnostic_dl_onednn import library
from agnostic_dl_onednn.library import FORWARD_TRAINING, POOLING_MAX, U8, OneDNNError
from agnostic_dl_onednn.primitive import Primitive, equal, nhwc, room, takes, workspace

Pair = tuple[int, int]
Borders = tuple[Pair, Pair]
Shape = tuple[int, ...]

#: Elements below which a call costs more than it saves.
_WORTHWHILE = 1 << 15


class Pool:
    """Both directions for one shape."""

    def __init__(self, x: Shape, out: Shape, kernel: Pair, stride: Pair, padding: Borders) -> None:
        self.out = out
        begins, ends = zip(*padding, strict=True)
        geometry = [library.dims(v) for v in (stride, kernel, (0, 0), begins, ends)]
        image, pooled = (library.description(*nhwc(shape)) for shape in (x, out))
        forward, backward = c_void_p(), c_void_p()
        library.call(
            "dnnl_pooling_forward_primitive_desc_create", byref(forward), library.engine(),
            c_int(FORWARD_TRAINING), c_int(POOLING_MAX), image, pooled, *geometry, c_void_p(0),
        )  # fmt: skip
        library.call(
            "dnnl_pooling_backward_primitive_desc_create", byref(backward), library.engine(),
            c_int(POOLING_MAX), image, pooled, *geometry, forward, c_void_p(0),
        )  # fmt: skip
        winners = workspace(forward)
        #: Whether winners are what the core's primitives say: a place in C order for each window.
        self.counts_places = equal(winners, library.description(*nhwc(out), U8))
        self.bytes = library.size_of(winners)
        self.forward = Primitive(forward, {"src": image, "dst": pooled, "workspace": winners})
        self.backward = Primitive(
            backward, {"diff_dst": pooled, "diff_src": image, "workspace": winners}
        )


@lru_cache(library.SHAPES)
def pool(x: Shape, kernel: Pair, stride: Pair, padding: Borders, threads: int) -> Pool | None:
    """The primitives for images of shape x; None: there are no good ones, or it would not pay."""
    size = [(x[1 + a] + sum(padding[a]) - kernel[a]) // stride[a] + 1 for a in (0, 1)]
    if min(size) < 1 or min(min(p) for p in padding) < 0:
        return None
    if any(max(padding[a]) >= kernel[a] for a in (0, 1)):
        return None  # a window that sees nothing of the image has no winner
    if x[0] * x[1] * x[2] * x[3] < _WORTHWHILE:
        return None
    try:
        return Pool(x, (x[0], size[0], size[1], x[3]), kernel, stride, padding)
    except OneDNNError:
        return None


def _found(x: Any, *geometry: Any) -> Pool | None:
    return pool(x.shape, *geometry, library.threads()) if takes(x) and x.ndim == 4 else None


def max_pool2d(xp: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Borders) -> Any:
    """As the primitive: the largest value of each window, (N, H, W, C) → (N, H', W', C)."""
    found = _found(x, kernel, stride, padding)
    if found is None:
        return NotImplemented
    out = scratch.result(found.out, x.dtype)
    found.forward(src=x, dst=out, workspace=room("winners", (found.bytes,), np.uint8))
    return out


def max_pool2d_grad(
    xp: Any, g: Any, x: Any, out: Any, *, kernel: Pair, stride: Pair, padding: Borders
) -> Any:
    """As the primitive: each g goes to the first winner of its window, in C order."""
    found = _found(x, kernel, stride, padding)
    if found is None or not takes(g) or g.shape != found.out:
        return NotImplemented
    again = room("pooled again", found.out, x.dtype)
    winners = room("winners", (found.bytes,), np.uint8)
    dx = scratch.result(x.shape, x.dtype)
    found.forward(src=x, dst=again, workspace=winners)
    found.backward(diff_dst=g, diff_src=dx, workspace=winners)
    return dx


def max_pool2d_winners(xp: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Borders) -> Any:
    """As the primitive: max_pool2d, and the place of each window's winner."""
    found = _found(x, kernel, stride, padding)
    if found is None or not found.counts_places:
        return NotImplemented
    out, winners = scratch.result(found.out, x.dtype), scratch.result(found.out, np.uint8)
    found.forward(src=x, dst=out, workspace=winners)
    return out, winners


def max_pool2d_route(
    xp: Any, g: Any, winner: Any, *, size: Pair, kernel: Pair, stride: Pair, padding: Borders
) -> Any:
    """As the primitive: each g goes to the place that its window's winner has."""
    shape = (g.shape[0], *size, g.shape[-1])
    taken = takes(g) and g.ndim == 4 and winner.dtype == np.uint8 and winner.flags.c_contiguous
    found = pool(shape, kernel, stride, padding, library.threads()) if taken else None
    if found is None or not found.counts_places or not g.shape == winner.shape == found.out:
        return NotImplemented
    dx = scratch.result(shape, g.dtype)
    found.backward(diff_dst=g, diff_src=dx, workspace=winner)
    return dx
