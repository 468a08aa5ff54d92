"""Max-pooling and its adjoint.

The library remembers each window's winner. The adjoint finds it again by a forward pass of its own,
which is still quicker than comparing.
"""

from __future__ import annotations

from ctypes import byref, c_int, c_void_p
from functools import cache
from typing import Any

from agnostic_dl_numpy import scratch
from agnostic_dl_onednn import library
from agnostic_dl_onednn.library import FORWARD_TRAINING, POOLING_MAX, OneDNNError
from agnostic_dl_onednn.primitive import Primitive, nhwc, takes, turn, workspace

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
        winners, self.winners = workspace(forward)
        self.forward = Primitive(forward, {"src": image, "dst": pooled, "workspace": winners})
        self.backward = Primitive(
            backward, {"diff_dst": pooled, "diff_src": image, "workspace": winners}
        )


@cache
def _pool(x: Shape, kernel: Pair, stride: Pair, padding: Borders, threads: int) -> Pool | None:
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


def max_pool2d(xp: Any, x: Any, *, kernel: Pair, stride: Pair, padding: Borders) -> Any:
    """As the primitive: the largest value of each window, (N, H, W, C) → (N, H', W', C)."""
    taken = takes(x) and x.ndim == 4
    pool = _pool(x.shape, kernel, stride, padding, library.threads()) if taken else None
    if pool is None:
        return NotImplemented
    out = scratch.result(pool.out, x.dtype)
    pool.forward(src=x, dst=out, workspace=pool.winners)
    return out


def max_pool2d_grad(
    xp: Any, g: Any, x: Any, out: Any, *, kernel: Pair, stride: Pair, padding: Borders
) -> Any:
    """As the primitive: each g goes to the first winner of its window, in C order."""
    taken = takes(g, x) and x.ndim == 4
    pool = _pool(x.shape, kernel, stride, padding, library.threads()) if taken else None
    if pool is None or g.shape != pool.out:
        return NotImplemented
    again = scratch.take("pooled again", pool.out, x.dtype)
    dx = scratch.result(x.shape, x.dtype)
    with turn:  # the winners are of this image until they are read
        pool.forward(src=x, dst=again, workspace=pool.winners)
        pool.backward(diff_dst=g, diff_src=dx, workspace=pool.winners)
    return dx
