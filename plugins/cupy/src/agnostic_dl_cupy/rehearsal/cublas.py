"""A stand-in for cuBLAS's library: computes on the host's memory what it is asked for."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

_ITEMS = {0: "float32", 1: "float64", 2: "float16", 14: "bfloat16"}


def view(pointer: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any) -> Any:
    """Memory at an address as an array; strides count elements."""
    dtype = np.dtype(dtype)
    reach = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    memory = (ctypes.c_byte * (reach * dtype.itemsize)).from_address(pointer)
    steps = tuple(s * dtype.itemsize for s in strides)
    return np.ndarray(shape, dtype, memory, strides=steps)


class FakeCublas:
    """Notes every call by name; column-major, as the real one."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.handles = 0

    def cublasCreate_v2(self, place: Any) -> int:
        self.handles += 1
        place._obj.value = self.handles
        self.calls.append(("create", self.handles))
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: Any) -> int:
        self.calls.append(("stream", handle.value, stream.value or 0))
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, pointer: Any, size: Any) -> int:
        self.calls.append(("workspace", handle.value, size.value))
        return 0

    def cublasGemmStridedBatchedEx(
        self, handle: Any, turn_a: Any, turn_b: Any, m: Any, n: Any, k: Any, alpha: Any,
        a: Any, type_a: Any, lda: Any, stride_a: Any, b: Any, type_b: Any, ldb: Any, stride_b: Any,
        beta: Any, c: Any, type_c: Any, ldc: Any, stride_c: Any, batch: Any, compute: Any,
        algorithm: Any,
    ) -> int:  # fmt: skip
        self.calls.append(("gemm", handle.value, compute.value))
        rows, columns, inner = m.value, n.value, k.value
        for index in range(batch.value):
            left = _operand(a, type_a, lda, stride_a, index, (rows, inner), turn_a.value)
            right = _operand(b, type_b, ldb, stride_b, index, (inner, columns), turn_b.value)
            out = _operand(c, type_c, ldc, stride_c, index, (rows, columns), 0)
            before = 0.0 if beta._obj.value == 0 else beta._obj.value * _wide(out)
            with np.errstate(over="ignore"):  # beyond float16's range it is infinite, silently
                out[...] = alpha._obj.value * (_wide(left) @ _wide(right)) + before
        return 0


def _wide(matrix: Any) -> Any:
    return matrix if matrix.dtype == np.float64 else matrix.astype(np.float32)


def _operand(
    pointer: Any, kind: Any, leading: Any, stride: Any, index: int, shape: Any, turn: int
) -> Any:
    """A column-major matrix of *shape* after its transposition; checks its leading dimension."""
    name = _ITEMS[kind.value]
    if name == "bfloat16":
        import ml_dtypes

        name = ml_dtypes.bfloat16
    stored = shape[::-1] if turn else shape
    if leading.value < stored[0]:
        raise ValueError(f"cuBLAS refuses the leading dimension {leading.value} of {stored}")
    start = pointer.value + index * stride.value * np.dtype(name).itemsize
    matrix = view(start, stored, (1, leading.value), name)
    return matrix.T if turn else matrix
