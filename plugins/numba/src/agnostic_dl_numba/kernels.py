"""The table of the kernels.

A sum or a product by itself is as fast by NumPy: both wait for memory.
"""

from __future__ import annotations

from typing import Any

from agnostic_dl.extend import CHAIN
from agnostic_dl_numba import noise, pooling
from agnostic_dl_numba.chain import CHAINS, SINGLE

KERNELS: dict[str, Any] = {
    CHAIN: CHAINS,
    "relu": SINGLE,
    "relu_grad": SINGLE,
    "max_pool2d": pooling.max_pool2d,
    "max_pool2d_grad": pooling.max_pool2d_grad,
    "avg_pool2d": pooling.avg_pool2d,
    "avg_pool2d_grad": pooling.avg_pool2d_grad,
    "dropout_mask": noise.dropout_mask,
}
