"""The table of the kernels."""

from __future__ import annotations

from typing import Any

from agnostic_dl.extend import CHAIN
from agnostic_dl_numba.chain import ChainKernel

KERNELS: dict[str, Any] = {CHAIN: ChainKernel()}
