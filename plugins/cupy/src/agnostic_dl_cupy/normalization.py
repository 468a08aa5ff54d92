"""Batch norm and its gradients: statistics by Welford's recurrence, joined in a fixed order."""

from __future__ import annotations

from typing import Any

import numpy as np

from agnostic_dl_cupy.reduction import NOWHERE, join, packed, pieces
from agnostic_dl_cupy.runtime import Launcher, Runtime, supported

_UNIT = "normalization"


def batch_norm(runtime: Runtime, xp: Any, x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    """As the primitive: x (..., C) → y, mean (C,), variance (C,)."""
    return _normalized(runtime, x, weight, bias, eps, rectify=False)


def batch_norm_relu(
    runtime: Runtime, xp: Any, x: Any, weight: Any, bias: Any, *, eps: float
) -> Any:
    """As the primitive: as batch_norm with ReLU, and last where y is positive."""
    return _normalized(runtime, x, weight, bias, eps, rectify=True)


def _normalized(
    runtime: Runtime, x: Any, weight: Any, bias: Any, eps: float, *, rectify: bool
) -> Any:
    if not _takes(runtime, x, weight, bias):
        return NotImplemented
    launcher = _launcher(runtime, x, weight)
    x, weight, bias = (runtime.contiguous(a) for a in (x, weight, bias))
    mean, variance = (runtime.empty(weight.shape, weight.dtype) for _ in range(2))
    # What the images are normalized by is not rounded to their dtype.
    scaling = runtime.empty((2, weight.size), launcher.accumulator)
    out, positive = launcher.empty(x.shape), runtime.empty(x.shape, "bool") if rectify else NOWHERE
    partial = pieces(launcher, _UNIT, "batch_norm_partial", (3, weight.size), (x,))
    join(
        launcher, _UNIT, "batch_norm_finish", partial, weight, mean, variance, scaling,
        last=[launcher.scalar(eps)],
    )  # fmt: skip
    _each(launcher, "batch_norm_apply", (x, scaling, bias, out, positive), (x, out, positive))
    return (out, mean, variance, positive) if rectify else (out, mean, variance)


def batch_norm_input_grad(
    runtime: Runtime, xp: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, *, eps: float
) -> Any:
    """As the primitive: the gradient in x, through the statistics as well."""
    found = batch_norm_gradients(runtime, xp, g, x, mean, var, weight, eps=eps)
    return NotImplemented if found is NotImplemented else found[0]


def batch_norm_weight_grad(
    runtime: Runtime, xp: Any, g: Any, x: Any, mean: Any, var: Any, *, eps: float
) -> Any:
    """As the primitive: Σ g · (x - mean) / √(variance + eps), (C,)."""
    if not _takes(runtime, x, mean, var) or not supported(runtime, x, g) or g.shape != x.shape:
        return NotImplemented
    g, x, mean, var = (runtime.contiguous(a) for a in (g, x, mean, var))
    return _sums(_launcher(runtime, x, mean), g, x, mean, var, NOWHERE, NOWHERE, eps)[1]


def batch_norm_gradients(
    runtime: Runtime, xp: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, *, eps: float
) -> Any:
    """As the primitive: in x, through the statistics as well, in the weight and in the bias."""
    return _gradients(runtime, g, x, mean, var, weight, NOWHERE, eps)


def batch_norm_relu_gradients(
    runtime: Runtime, xp: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, positive: Any, *,
    eps: float,
) -> Any:  # fmt: skip
    """As the primitive: of g where y was positive."""
    if not runtime.takes(positive) or positive.dtype != bool or positive.shape != x.shape:
        return NotImplemented
    return _gradients(runtime, g, x, mean, var, weight, runtime.contiguous(positive), eps)


def _gradients(
    runtime: Runtime, g: Any, x: Any, mean: Any, var: Any, weight: Any, positive: Any, eps: float
) -> Any:
    fits = _takes(runtime, x, mean, var, weight) and supported(runtime, x, g)
    if not fits or g.shape != x.shape:
        return NotImplemented
    launcher = _launcher(runtime, x, mean)
    g, x, mean, var, weight = (runtime.contiguous(a) for a in (g, x, mean, var, weight))
    terms, *grads = _sums(launcher, g, x, mean, var, weight, positive, eps)
    out = launcher.empty(x.shape)
    arrays, images = (g, x, mean, terms, positive, out), (g, x, positive, out)
    _each(launcher, "batch_norm_input_grad", arrays, images)
    return (out, *grads)


def _takes(runtime: Runtime, x: Any, *vectors: Any) -> bool:
    """Images of a dtype, and vectors of that one or, beside short images, of float32."""
    if not supported(runtime, x) or not supported(runtime, *vectors) or x.ndim < 2:
        return False
    alike = vectors[0].dtype in (x.dtype, Launcher(runtime, x.dtype).accumulator)
    return alike and all(v.shape == x.shape[-1:] for v in vectors)


def _launcher(runtime: Runtime, x: Any, vector: Any) -> Launcher:
    wider = vector.dtype != x.dtype
    return Launcher(runtime, x.dtype, vector.dtype.name if wider else "")


def _each(launcher: Launcher, kernel: str, arrays: Any, images: Any) -> None:
    """Launch a kernel that walks over the elements of *images*, some by each thread."""
    width, size = packed(launcher, images), images[0].size
    threads = launcher.runtime.threads
    blocks = min(-(-size // (width * threads)), launcher.runtime.enough_blocks)
    launcher.grid(
        _UNIT, kernel, (blocks,), threads, *arrays, np.int64(size), np.int32(images[0].shape[-1]),
        np.int32(width > 1),
    )  # fmt: skip


def _sums(
    launcher: Launcher, g: Any, x: Any, mean: Any, var: Any, weight: Any, positive: Any, eps: float
) -> tuple[Any, Any, Any]:
    """The terms of the gradient in x, if there is a weight; the gradients of weight and bias."""
    arrays, images = (g, x, mean, positive), (g, x, positive)
    shape = (2, mean.size)
    partial = pieces(launcher, _UNIT, "batch_norm_grad_partial", shape, arrays, images)
    terms = launcher.runtime.empty((3, mean.size), launcher.accumulator)
    weight_grad, bias_grad = (launcher.runtime.empty(mean.shape, mean.dtype) for _ in range(2))
    rows = np.int64(x.size // mean.size)
    join(
        launcher, _UNIT, "batch_norm_grad_finish", partial, var, weight, terms, weight_grad,
        bias_grad, rows, last=[launcher.scalar(eps)],
    )  # fmt: skip
    return terms, weight_grad, bias_grad
