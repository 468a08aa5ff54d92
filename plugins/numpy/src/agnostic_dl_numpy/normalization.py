"""Batch normalisation: statistics in float64, passes over pieces that stay in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from agnostic_dl_numpy import channels, scratch, threads
from agnostic_dl_numpy.checks import takes


def batch_norm(xp: Any, x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    """As the primitive: x (..., C) → y, and the batch's mean and biased variance, (C,) each."""
    if not takes(x, weight, bias) or x.ndim < 2:
        return NotImplemented
    flat, y = channels.rows(x), scratch.result(x.shape, dtype=x.dtype)
    mean = channels.sums(flat) / len(flat)
    # About the mean, not from Σ x²: nothing cancels where the mean is far from zero.
    var = channels.totals(1, _squares, (flat,), _typed(x, mean))[0] / len(flat)
    scale = weight / np.sqrt(var + eps)
    channels.apply(_normalise, (flat, channels.rows(y)), _typed(x, mean, scale, bias))
    return y, *_typed(x, mean, var)


def _normalise(x: Any, out: Any, mean: Any, scale: Any, shift: Any) -> None:
    np.subtract(x, mean, out=out)
    np.multiply(out, scale, out=out)
    np.add(out, shift, out=out)


def batch_norm_input_grad(
    xp: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, *, eps: float
) -> Any:
    """As the primitive: the gradient in x (..., C), through the statistics as well.

    (g - Σg / M) · w / σ - (x - mean) · Σ(g · (x - mean)) / M · w / σ³.
    """
    if not takes(g, x, mean, var, weight) or x.ndim < 2:
        return NotImplemented
    return _gradients(g, x, mean, var, weight, eps)[0]


def batch_norm_gradients(
    xp: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, *, eps: float
) -> Any:
    """As the primitive: in x (..., C), in the weight and in the bias, of the same two sums."""
    if not takes(g, x, mean, var, weight) or x.ndim < 2:
        return NotImplemented
    dx, pull, twist = _gradients(g, x, mean, var, weight, eps)
    slope, bias = (scratch.result(pull.shape, x.dtype) for _ in range(2))
    np.copyto(slope, twist / np.sqrt(var.astype(np.float64) + eps), casting="same_kind")
    if x.size < threads.WORTHWHILE:  # as `sum` has it, to the bit
        np.sum(g, axis=tuple(range(x.ndim - 1)), out=bias)
    else:
        np.copyto(bias, pull, casting="same_kind")
    return dx, slope, bias


def _gradients(g: Any, x: Any, mean: Any, var: Any, weight: Any, eps: float) -> Any:
    """The gradient in x; Σ g and Σ g · (x - mean) in float64."""
    flat, pulls, dx = channels.rows(x), channels.rows(g), scratch.result(x.shape, dtype=x.dtype)
    rstd = 1.0 / np.sqrt(var.astype(np.float64) + eps)
    pull, twist = sums = channels.totals(2, _moments, (pulls, flat), (mean,))
    shift, turn = sums / len(flat)
    vectors = _typed(x, shift, mean, weight * rstd, weight * turn * rstd**3)
    channels.apply(_pull_back, (pulls, flat, channels.rows(dx)), vectors)
    return dx, pull, twist


def _pull_back(g: Any, x: Any, out: Any, pull: Any, mean: Any, scale: Any, slope: Any) -> None:
    tilt = _deviation(x, mean)
    np.multiply(tilt, slope, out=tilt)
    np.subtract(g, pull, out=out)
    np.multiply(out, scale, out=out)
    np.subtract(out, tilt, out=out)


def batch_norm_weight_grad(xp: Any, g: Any, x: Any, mean: Any, var: Any, *, eps: float) -> Any:
    """As the primitive: Σ g · (x - mean) / √(var + eps), shape (C,)."""
    if not takes(g, x, mean, var) or x.ndim < 2:
        return NotImplemented
    twist = channels.totals(1, _products, (channels.rows(g), channels.rows(x)), (mean,))[0]
    return (twist / np.sqrt(var.astype(np.float64) + eps)).astype(x.dtype)


def _typed(x: Any, *values: Any) -> tuple[Any, ...]:
    return tuple(value.astype(x.dtype) for value in values)


def _deviation(x: Any, mean: Any) -> Any:
    return np.subtract(x, mean, out=scratch.take("deviation", x.shape, x.dtype))


def _squares(x: Any, mean: Any) -> tuple[Any, ...]:
    deviation = _deviation(x, mean)
    return (np.multiply(deviation, deviation, out=deviation),)


def _products(g: Any, x: Any, mean: Any) -> tuple[Any, ...]:
    deviation = _deviation(x, mean)
    return (np.multiply(deviation, g, out=deviation),)


def _moments(g: Any, x: Any, mean: Any) -> tuple[Any, ...]:
    return g, *_products(g, x, mean)
