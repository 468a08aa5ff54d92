"""The backend's kernels by primitive: bound to a runtime, each with its primitive's signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from agnostic_dl_cupy import classification, elementwise, normalization, pooling
from agnostic_dl_cupy.runtime import Runtime

#: Primitive → function(runtime, xp, *arrays, **static).
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "relu": elementwise.relu,
    "relu_grad": elementwise.relu_grad,
    "dropout_mask": elementwise.dropout_mask,
    "max_pool2d": pooling.max_pool2d,
    "max_pool2d_grad": pooling.max_pool2d_grad,
    "avg_pool2d": pooling.avg_pool2d,
    "avg_pool2d_grad": pooling.avg_pool2d_grad,
    "batch_norm": normalization.batch_norm,
    "batch_norm_input_grad": normalization.batch_norm_input_grad,
    "batch_norm_weight_grad": normalization.batch_norm_weight_grad,
    "softmax_cross_entropy": classification.softmax_cross_entropy,
    "softmax_cross_entropy_grad": classification.softmax_cross_entropy_grad,
}


def bind(runtime: Runtime) -> Mapping[str, Callable[..., Any]]:
    """The kernels of one device."""
    return {name: partial(function, runtime) for name, function in FUNCTIONS.items()}
