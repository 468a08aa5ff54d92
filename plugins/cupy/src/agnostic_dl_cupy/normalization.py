"""Batch norm and its gradients: statistics by Welford's recurrence, joined in a fixed order."""

from __future__ import annotations

from typing import Any

import numpy as np

from agnostic_dl_cupy.runtime import ALIGNED, Launcher, Runtime, supported

_UNIT = "normalization"
_THREADS = 256
#: Channels that a block joins the pieces of.
_JOINED = 8
#: The address of an array that is not there.
NOWHERE = np.uint64(0)


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
    partial = _partial(launcher, "batch_norm_partial", 3, (x,))
    _join(launcher, "batch_norm_finish", partial, weight, mean, variance, scaling, eps=eps)
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


def _packed(launcher: Launcher, images: Any) -> int:
    """How many neighbours a thread has: as many as 16 bytes hold, where the images allow that."""
    width = ALIGNED // launcher.dtype.itemsize
    there = [a for a in images if a is not NOWHERE]
    fits = there[0].shape[-1] % width == 0
    aligned = all(launcher.runtime.pointer(a) % ALIGNED == 0 for a in there)
    return width if fits and aligned else 1


def _each(launcher: Launcher, kernel: str, arrays: Any, images: Any) -> None:
    """Launch a kernel that walks over the elements of *images*, some by each thread."""
    width, size = _packed(launcher, images), images[0].size
    threads = launcher.runtime.threads
    blocks = min(-(-size // (width * threads)), launcher.runtime.enough_blocks)
    launcher.grid(
        _UNIT, kernel, (blocks,), threads, *arrays, np.int64(size), np.int32(images[0].shape[-1]),
        np.int32(width > 1),
    )  # fmt: skip


def _partial(launcher: Launcher, kernel: str, count: int, arrays: Any, images: Any = None) -> Any:
    """Reduce pieces of the rows of the first of *arrays*: (pieces, count, C)."""
    channels, threads = arrays[0].shape[-1], min(_THREADS, launcher.runtime.threads)
    rows, width = arrays[0].size // channels, _packed(launcher, images or arrays)
    groups = channels // width
    lanes = min(32, 1 << (groups - 1).bit_length())
    wide, lines = -(-groups // lanes), threads // lanes
    # A thread sums at least eight rows: joining costs more than that.
    pieces = max(min(rows // (8 * lines), launcher.runtime.enough_blocks // wide, 512), 1)
    partial = launcher.runtime.empty((pieces, count, channels), launcher.accumulator)
    launcher.grid(
        _UNIT, kernel, (wide, pieces), threads, *arrays, partial, np.int64(rows),
        np.int32(channels), np.int32(lanes), np.int32(width > 1),
    )  # fmt: skip
    return partial


def _join(launcher: Launcher, kernel: str, partial: Any, *arguments: Any, eps: float) -> None:
    """Launch the kernel that joins the pieces; blocks of a few channels, and many lines."""
    pieces, _, channels = partial.shape
    threads = min(_THREADS, launcher.runtime.threads)
    launcher.grid(
        _UNIT, kernel, (-(-channels // _JOINED),), threads, partial, *arguments, np.int32(pieces),
        np.int32(channels), np.int32(_JOINED), launcher.scalar(eps),
    )  # fmt: skip


def _sums(
    launcher: Launcher, g: Any, x: Any, mean: Any, var: Any, weight: Any, positive: Any, eps: float
) -> tuple[Any, Any, Any]:
    """The terms of the gradient in x, if there is a weight; the gradients of weight and bias."""
    arrays, images = (g, x, mean, positive), (g, x, positive)
    partial = _partial(launcher, "batch_norm_grad_partial", 2, arrays, images)
    terms = launcher.runtime.empty((3, mean.size), launcher.accumulator)
    weight_grad, bias_grad = (launcher.runtime.empty(mean.shape, mean.dtype) for _ in range(2))
    rows = np.int64(x.size // mean.size)
    _join(
        launcher, "batch_norm_grad_finish", partial, var, weight, terms, weight_grad, bias_grad,
        rows, eps=eps,
    )  # fmt: skip
    return terms, weight_grad, bias_grad
