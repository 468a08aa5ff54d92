"""The backend's kernels by primitive: bound to a runtime, each with its primitive's signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from agnostic_dl.extend import fusion
from agnostic_dl_cupy import (
    classification,
    contraction,
    elementwise,
    normalization,
    pooling,
    reduction,
    storage,
)
from agnostic_dl_cupy.blas import Blas
from agnostic_dl_cupy.convolution import ByColumns, Convolutions
from agnostic_dl_cupy.runtime import Runtime

#: What recorded programs are rewritten by, for the sake of these kernels.
REWRITES = (
    *fusion.CONVOLUTION, fusion.batch_norm_gradients_together,
    fusion.batch_norm_gradients_of_short_images, fusion.batch_norm_two_gradients_together,
    fusion.relu_into_batch_norm,
)  # fmt: skip

#: Primitive → function(runtime, xp, *arrays, **static).
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "relu": elementwise.relu,
    "relu_grad": elementwise.relu_grad,
    "dropout_mask": elementwise.dropout_mask,
    "pack": storage.pack,
    "sum": reduction.sum_over_rows,
    "max_pool2d": pooling.max_pool2d,
    "max_pool2d_grad": pooling.max_pool2d_grad,
    "avg_pool2d": pooling.avg_pool2d,
    "avg_pool2d_grad": pooling.avg_pool2d_grad,
    "batch_norm": normalization.batch_norm,
    "batch_norm_input_grad": normalization.batch_norm_input_grad,
    "batch_norm_weight_grad": normalization.batch_norm_weight_grad,
    "batch_norm_gradients": normalization.batch_norm_gradients,
    "batch_norm_relu": normalization.batch_norm_relu,
    "batch_norm_relu_gradients": normalization.batch_norm_relu_gradients,
    "softmax_cross_entropy": classification.softmax_cross_entropy,
    "softmax_cross_entropy_grad": classification.softmax_cross_entropy_grad,
}


def bind(
    runtime: Runtime, blas: Blas | None = None, graphs: Any = None
) -> Mapping[str, Callable[..., Any]]:
    """The kernels of one device. *graphs*: cuDNN's convolutions, tried before the columns."""
    blas = blas or Blas(runtime)
    ways = [way for way in (graphs, ByColumns(runtime, blas)) if way is not None]
    convolutions = Convolutions(runtime, ways)
    return {
        **{name: partial(function, runtime) for name, function in FUNCTIONS.items()},
        "matmul": partial(contraction.matmul, runtime, blas),
        "linear": partial(contraction.linear, runtime, blas),
        "conv2d": convolutions.conv2d,
        "conv2d_bias": convolutions.conv2d_bias,
        "conv2d_input_grad": convolutions.conv2d_input_grad,
        "conv2d_weight_grad": convolutions.conv2d_weight_grad,
    }
