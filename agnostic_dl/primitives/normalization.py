"""Batch and layer normalisation.

Sources: Ioffe and Szegedy, "Batch Normalization", ICML 2015; Ba, Kiros and Hinton, "Layer
Normalization", 2016.
"""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.definition import primitive


def _channel_axes(x: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


@primitive
def batch_norm(xp: Any, x: Any, weight: Any, bias: Any, *, eps: float) -> tuple[Any, Any, Any]:
    """Normalise each channel (the last axis) over all others, then scale and shift.

    x (..., C), weight and bias (C,). Returns y (..., C) and the batch's mean and (biased) variance,
    (C,) each: y = (x - mean) / √(variance + eps) · weight + bias. Of a shorter x than the weight it
    computes in the weight's dtype, which the statistics have then, and y that of x.
    """
    wide, axes = _as_wide(xp, x, weight), _channel_axes(x)
    mean = xp.mean(wide, axis=axes)
    var = xp.var(wide, axis=axes)
    scale = xp.divide(weight, xp.sqrt(xp.add(var, eps)))
    y = xp.add(xp.multiply(xp.subtract(wide, mean), scale), bias)
    return _cast(xp, y, x.dtype), mean, var


def _as_wide(xp: Any, x: Any, like: Any) -> Any:
    """x in the dtype that a sum of the two would have."""
    return x if x.dtype == like.dtype else _cast(xp, x, xp.result_type(x.dtype, like.dtype))


def _cast(xp: Any, x: Any, dtype: Any) -> Any:
    return x if x.dtype == dtype else xp.astype(x, dtype)


@primitive
def batch_norm_input_grad(
    xp: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, *, eps: float
) -> Any:
    """Gradient of batch_norm's y in x, through the statistics as well; shapes as there."""
    axes, count, dtype = _channel_axes(x), math.prod(x.shape[:-1]), x.dtype
    g, x = _as_wide(xp, g, mean), _as_wide(xp, x, mean)
    rstd = xp.divide(xp.ones_like(var), xp.sqrt(xp.add(var, eps)))
    centred = xp.multiply(xp.subtract(x, mean), rstd)
    pull = xp.divide(xp.sum(g, axis=axes), float(count))
    twist = xp.divide(xp.sum(xp.multiply(g, centred), axis=axes), float(count))
    inner = xp.subtract(xp.subtract(g, pull), xp.multiply(centred, twist))
    return _cast(xp, xp.multiply(inner, xp.multiply(weight, rstd)), dtype)


@primitive
def batch_norm_weight_grad(xp: Any, g: Any, x: Any, mean: Any, var: Any, *, eps: float) -> Any:
    """Gradient of batch_norm's y in the weight: Σ g · (x - mean) / √(var + eps), shape (C,)."""
    g, x = _as_wide(xp, g, mean), _as_wide(xp, x, mean)
    product = xp.sum(xp.multiply(g, xp.subtract(x, mean)), axis=_channel_axes(x))
    return xp.divide(product, xp.sqrt(xp.add(var, eps)))


# Differentiated as what their formulas say: the statistics are inputs here, and outputs that have
# rules in batch_norm, so that the second order is whole.
batch_norm_input_grad.defvjp_composed()
batch_norm_weight_grad.defvjp_composed()


def _batch_norm_rule(
    xp: Any, g: tuple[Any, ...], out: tuple[Any, ...], x: Any, weight: Any, bias: Any, *, eps: float
) -> list[Any]:
    """Rules of x, weight and bias at once; a gradient of an output nobody used is None."""
    (gy, g_mean, g_var), (_, mean, var) = g, out
    count = math.prod(x.shape[:-1])
    terms = []
    if gy is not None:
        terms.append(xp.batch_norm_input_grad(gy, x, mean, var, weight, eps=eps))
    if g_mean is not None:
        terms.append(xp.broadcast_to(xp.divide(g_mean, float(count)), x.shape))
    if g_var is not None:
        terms.append(xp.multiply(xp.subtract(x, mean), xp.multiply(g_var, 2.0 / count)))
    grad_x = terms[0]
    for term in terms[1:]:
        grad_x = xp.add(grad_x, term)
    if gy is None:
        return [grad_x, None, None]
    axes = _channel_axes(x)
    return [grad_x, xp.batch_norm_weight_grad(gy, x, mean, var, eps=eps), xp.sum(gy, axis=axes)]


batch_norm.defvjp_variadic(_batch_norm_rule, keeps=["x", "weight", 1, 2])


# -- put together: what a kernel can do in one pass; see fusion.py ---------------------------------


@primitive
def batch_norm_gradients(
    xp: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, *, eps: float
) -> tuple[Any, Any, Any]:
    """Gradients of batch_norm's y in x (..., C), in the weight and in the bias, (C,) each."""
    return (
        batch_norm_input_grad.forward(xp, g, x, mean, var, weight, eps=eps),
        batch_norm_weight_grad.forward(xp, g, x, mean, var, eps=eps),
        xp.sum(_as_wide(xp, g, mean), axis=_channel_axes(x)),
    )


@primitive
def batch_norm_relu(
    xp: Any, x: Any, weight: Any, bias: Any, *, eps: float
) -> tuple[Any, Any, Any, Any]:
    """batch_norm with ReLU: y, mean, variance, and where y is positive.

    The last, a bool array as x, is for the gradients alone: a kernel may keep it in its own form.
    """
    y, mean, var = batch_norm.forward(xp, x, weight, bias, eps=eps)
    zero = xp.zeros_like(y)
    # The larger and not a choice by the mask: NaN, which is not positive, stays NaN as in relu.
    return xp.maximum(y, zero), mean, var, xp.greater(y, zero)


@primitive
def batch_norm_relu_gradients(
    xp: Any, g: Any, x: Any, mean: Any, var: Any, weight: Any, positive: Any, *, eps: float
) -> tuple[Any, Any, Any]:
    """Gradients of batch_norm_relu's y in x, in the weight and in the bias."""
    passed = xp.where(positive, g, xp.zeros_like(g))
    return batch_norm_gradients.forward(xp, passed, x, mean, var, weight, eps=eps)


batch_norm_gradients.defvjp_composed()
batch_norm_relu.defvjp_composed()
batch_norm_relu_gradients.defvjp_composed()


@primitive
def layer_norm(xp: Any, x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    """Normalise over the trailing axes that *weight* has, then scale and shift."""
    axes = tuple(range(x.ndim - weight.ndim, x.ndim))
    centred = xp.subtract(x, xp.mean(x, axis=axes, keepdims=True))
    var = xp.mean(xp.square(centred), axis=axes, keepdims=True)
    unit = xp.divide(centred, xp.sqrt(xp.add(var, eps)))
    return xp.add(xp.multiply(unit, weight), bias)


layer_norm.defvjp_composed()
