"""The table of the kernels that NumPy's backend brings: primitive name → function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agnostic_dl_numpy import (
    channels,
    classification,
    contraction,
    convolution,
    elementwise,
    noise,
    normalization,
    pooling,
)

KERNELS: dict[str, Callable[..., Any]] = {
    kernel.__name__: kernel
    for kernel in (
        convolution.conv2d, convolution.conv2d_bias,
        convolution.conv2d_input_grad, convolution.conv2d_weight_grad,
        pooling.max_pool2d, pooling.max_pool2d_grad, pooling.avg_pool2d, pooling.avg_pool2d_grad,
        normalization.batch_norm, normalization.batch_norm_input_grad,
        normalization.batch_norm_weight_grad, normalization.batch_norm_gradients,
        elementwise.relu, elementwise.relu_grad, elementwise.add, elementwise.multiply,
        channels.sum, contraction.matmul, contraction.linear,
        classification.softmax_cross_entropy, classification.softmax_cross_entropy_grad,
        noise.dropout_mask,
    )
}  # fmt: skip
