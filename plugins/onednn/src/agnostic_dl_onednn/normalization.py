"""Batch normalisation of (N, H, W, C) by the batch's statistics, and its adjoint in the image."""

from __future__ import annotations

from ctypes import byref, c_float, c_int, c_uint, c_void_p
from functools import cache
from typing import Any

import numpy as np

from agnostic_dl_numpy import scratch
from agnostic_dl_onednn import library
from agnostic_dl_onednn.library import (
    BACKWARD,
    FORWARD_TRAINING,
    SCALE,
    SHIFT,
    OneDNNError,
)
from agnostic_dl_onednn.primitive import Primitive, nhwc, takes

Shape = tuple[int, ...]

#: Elements below which a call costs more than it saves.
_WORTHWHILE = 1 << 15


class Normalization:
    """Both directions for one shape."""

    def __init__(self, x: Shape, eps: float) -> None:
        image = library.description(*nhwc(x))
        channel = library.description((x[3],), (1,))
        small, backward = c_float(eps), c_void_p()
        forward = self._description(image, small)
        library.call(
            "dnnl_batch_normalization_backward_primitive_desc_create", byref(backward),
            library.engine(), c_int(BACKWARD), image, image, image, small,
            c_uint(SCALE | SHIFT), forward, c_void_p(0),
        )  # fmt: skip
        statistics = {"mean": channel, "variance": channel}
        self.forward = Primitive(
            forward, {"src": image, "dst": image, "scale": channel, "shift": channel, **statistics}
        )
        self.backward = Primitive(
            backward,
            {
                "src": image,
                "diff_dst": image,
                "diff_src": image,
                "scale": channel,
                "diff_scale": channel,
                "diff_shift": channel,
                **statistics,
            },
        )

    def _description(self, image: c_void_p, eps: c_float) -> c_void_p:
        found = c_void_p()
        library.call(
            "dnnl_batch_normalization_forward_primitive_desc_create", byref(found),
            library.engine(), c_int(FORWARD_TRAINING), image, image, eps, c_uint(SCALE | SHIFT),
            c_void_p(0),
        )  # fmt: skip
        return found


@cache
def _normalization(x: Shape, eps: float, threads: int) -> Normalization | None:
    if x[0] * x[1] * x[2] * x[3] < _WORTHWHILE:
        return None
    try:
        return Normalization(x, eps)
    except OneDNNError:
        return None


def _found(x: Any, eps: float, *others: Any) -> Normalization | None:
    """The primitives for x (N, H, W, C) and its companions; None: not for this library."""
    if not takes(x, *others) or x.ndim != 4:
        return None
    return _normalization(x.shape, eps, library.threads())


def batch_norm(xp: Any, x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    """As the primitive: x (N, H, W, C) → y, and the batch's mean and biased variance."""
    found = _found(x, eps, weight, bias)
    if found is None:
        return NotImplemented
    y = scratch.result(x.shape, x.dtype)
    mean, variance = (np.empty(x.shape[3], dtype=x.dtype) for _ in range(2))
    found.forward(src=x, dst=y, scale=weight, shift=bias, mean=mean, variance=variance)
    return y, mean, variance


def batch_norm_input_grad(
    xp: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, *, eps: float
) -> Any:
    """As the primitive: the gradient in x (N, H, W, C), through the statistics as well."""
    found = _found(x, eps, g, mean, var, weight)
    if found is None:
        return NotImplemented
    dx = scratch.result(x.shape, x.dtype)
    unused = scratch.take("channels", (2, x.shape[3]), x.dtype)
    found.backward(src=x, diff_dst=g, diff_src=dx, scale=weight, mean=mean, variance=var,
                   diff_scale=unused[0], diff_shift=unused[1])  # fmt: skip
    return dx


def batch_norm_weight_grad(xp: Any, g: Any, x: Any, mean: Any, var: Any, *, eps: float) -> Any:
    """As the primitive: Σ g · (x - mean) / √(var + eps), shape (C,)."""
    found = _found(x, eps, g, mean, var)
    if found is None:
        return NotImplemented
    # What else the library computes beside it is not kept; the weight has no part in this one.
    dx, shift = scratch.take("image", x.shape, x.dtype), np.empty_like(mean)
    dw = scratch.result(mean.shape, x.dtype)
    found.backward(src=x, diff_dst=g, diff_src=dx, scale=mean, mean=mean, variance=var,
                   diff_scale=dw, diff_shift=shift)  # fmt: skip
    return dw
