"""Batch normalisation of (N, H, W, C) by the batch's statistics, with and without ReLU."""

from __future__ import annotations

from ctypes import byref, c_float, c_int, c_uint, c_void_p
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from agnostic_dl_numpy import scratch
from agnostic_dl_onednn import library
from agnostic_dl_onednn.library import (
    BACKWARD,
    FORWARD_TRAINING,
    FUSE_RELU,
    SCALE,
    SHIFT,
    OneDNNError,
)
from agnostic_dl_onednn.primitive import Primitive, nhwc, takes, workspace

Shape = tuple[int, ...]

#: Elements below which a call costs more than it saves.
_WORTHWHILE = 1 << 15


class Normalization:
    """Both directions for one shape; *relu*: with ReLU behind, whose mask is the workspace."""

    def __init__(self, x: Shape, eps: float, relu: bool) -> None:
        image, channel = library.description(*nhwc(x)), library.description((x[3],), (1,))
        flags, small = c_uint(SCALE | SHIFT | (FUSE_RELU if relu else 0)), c_float(eps)
        forward, backward = c_void_p(), c_void_p()
        library.call(
            "dnnl_batch_normalization_forward_primitive_desc_create", byref(forward),
            library.engine(), c_int(FORWARD_TRAINING), image, image, small, flags, c_void_p(0),
        )  # fmt: skip
        library.call(
            "dnnl_batch_normalization_backward_primitive_desc_create", byref(backward),
            library.engine(), c_int(BACKWARD), image, image, image, small, flags, forward,
            c_void_p(0),
        )  # fmt: skip
        shared = {"src": image, "scale": channel, "mean": channel, "variance": channel}
        if relu:
            shared["workspace"] = workspace(forward)
            if library.size_of(shared["workspace"]) > prod(x):
                raise OneDNNError("the mask does not fit into the array that it is kept in")
        gradients = {"diff_scale": channel, "diff_shift": channel}
        self.forward = Primitive(forward, {**shared, "shift": channel, "dst": image})
        self.backward = Primitive(
            backward, {**shared, **gradients, "diff_dst": image, "diff_src": image}
        )


@lru_cache(library.SHAPES)
def normalization(x: Shape, eps: float, relu: bool, threads: int) -> Normalization | None:
    """The primitives for images of shape x; None: there are no good ones, or it would not pay."""
    if len(x) != 4 or prod(x) < _WORTHWHILE:
        return None
    try:
        return Normalization(x, eps, relu)
    except OneDNNError:
        return None


def _found(x: Any, eps: float, relu: bool, *others: Any) -> Normalization | None:
    """The primitives for x (N, H, W, C) and its companions; None: not for this library."""
    if not takes(x, *others):
        return None
    return normalization(x.shape, eps, relu, library.threads())


def batch_norm(xp: Any, x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    """As the primitive: x (N, H, W, C) → y, and the batch's mean and biased variance."""
    found = _found(x, eps, False, weight, bias)
    return NotImplemented if found is None else _forward(found, x, weight, bias)


def batch_norm_relu(xp: Any, x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    """As the primitive; where y is positive is told in the library's own form."""
    found = _found(x, eps, True, weight, bias)
    if found is None:
        return NotImplemented
    positive = scratch.result(x.shape, np.bool_)
    return *_forward(found, x, weight, bias, workspace=positive), positive


def _forward(found: Normalization, x: Any, weight: Any, bias: Any, **more: Any) -> Any:
    y = scratch.result(x.shape, x.dtype)
    mean, variance = (scratch.result(weight.shape, x.dtype) for _ in range(2))
    found.forward(src=x, dst=y, scale=weight, shift=bias, mean=mean, variance=variance, **more)
    return y, mean, variance


def batch_norm_gradients(
    xp: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, *, eps: float
) -> Any:
    """As the primitive: in x (N, H, W, C), in the weight and in the bias."""
    found = _found(x, eps, False, g, mean, var, weight)
    return NotImplemented if found is None else _backward(found, g, x, mean, var, weight)


def batch_norm_relu_gradients(
    xp: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, positive: Any, *, eps: float
) -> Any:
    """As the primitive, where *positive* is of this library's :func:`batch_norm_relu`."""
    found = _found(x, eps, True, g, mean, var, weight)
    if found is None:
        return NotImplemented
    return _backward(found, g, x, mean, var, weight, workspace=positive)


def _backward(
    found: Normalization, g: Any, x: Any, mean: Any, var: Any, weight: Any, **more: Any
) -> Any:
    dx = scratch.result(x.shape, x.dtype)
    dw, db = (scratch.result(weight.shape, x.dtype) for _ in range(2))
    found.backward(src=x, diff_dst=g, diff_src=dx, scale=weight, mean=mean, variance=var,
                   diff_scale=dw, diff_shift=db, **more)  # fmt: skip
    return dx, dw, db


def batch_norm_input_grad(
    xp: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, *, eps: float
) -> Any:
    """As the primitive: the gradient in x alone."""
    found = batch_norm_gradients(xp, g, x, mean, var, weight, eps=eps)
    return found if found is NotImplemented else found[0]


def batch_norm_weight_grad(xp: Any, g: Any, x: Any, mean: Any, var: Any, *, eps: float) -> Any:
    """As the primitive: Σ g · (x - mean) / √(var + eps), in which the weight has no part."""
    found = batch_norm_gradients(xp, g, x, mean, var, mean, eps=eps)
    return found if found is NotImplemented else found[1]
