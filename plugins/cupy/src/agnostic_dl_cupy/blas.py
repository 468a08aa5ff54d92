"""cuBLAS by ctypes: products that can be captured in a CUDA graph, in every precision.

CuPy refuses cuBLAS while a stream is captured. The ban is CuPy's own: CUDA allows it to a handle
whose workspace is fixed before the capture begins. There is one handle, with a workspace of its
own, for each device, thread and stream, so that no two streams share one.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from typing import Any, NamedTuple

from agnostic_dl.extend import BackendUnavailable, UsageError
from agnostic_dl_cupy.precision import allows_tf32
from agnostic_dl_cupy.runtime import Runtime

#: What cuBLAS asks for on Hopper.
WORKSPACE_BYTES = 32 << 20

_DATA = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # cudaDataType
_COMPUTE_32F, _COMPUTE_32F_FAST_TF32, _COMPUTE_64F = 68, 77, 70  # cublasComputeType_t
_DEFAULT_ALGORITHM = -1


class Matrix(NamedTuple):
    """A row-major matrix in memory, or (transposed) one whose transpose is; *stride*: per batch."""

    pointer: int
    leading: int
    transposed: bool = False
    stride: int = 0


class Product(NamedTuple):
    """out (rows, columns) = beta · out + left (rows, inner) @ right (inner, columns), batched."""

    rows: int
    columns: int
    inner: int
    dtype: str
    beta: float = 0.0
    batch: int = 1


class Blas:
    """The products of one runtime."""

    def __init__(self, runtime: Runtime, library: Any = None) -> None:
        self.runtime = runtime
        self._library = library
        self._handles: dict[tuple[int, int], tuple[Any, Any]] = {}

    @property
    def library(self) -> Any:
        if self._library is None:
            self._library = load()
        return self._library

    def multiply(self, product: Product, left: Matrix, right: Matrix, out: Matrix) -> None:
        """Queue a product. cuBLAS is column-major: it is told outᵀ = rightᵀ @ leftᵀ."""
        number = ctypes.c_double if product.dtype == "float64" else ctypes.c_float
        data = ctypes.c_int(_DATA[product.dtype])
        one, beta = number(1.0), number(product.beta)
        sizes = [_size(n) for n in (product.columns, product.rows, product.inner)]
        with self.runtime.current():
            status = self.library.cublasGemmStridedBatchedEx(
                self._handle(), ctypes.c_int(right.transposed), ctypes.c_int(left.transposed),
                *sizes, ctypes.byref(one), *_operand(right, data), *_operand(left, data),
                ctypes.byref(beta), *_operand(out, data), _size(product.batch),
                ctypes.c_int(_compute(product.dtype)), ctypes.c_int(_DEFAULT_ALGORITHM),
            )  # fmt: skip
        _check(status, "cublasGemmStridedBatchedEx")

    def _handle(self) -> Any:
        """This thread's and stream's handle; its first use must come before a capture."""
        stream = self.runtime.stream()
        key = (threading.get_ident(), stream)
        if key not in self._handles:
            self._handles[key] = self._make_handle(stream)
        return self._handles[key][0]

    def _make_handle(self, stream: int) -> tuple[Any, Any]:
        handle = ctypes.c_void_p()
        workspace = self.runtime.kept(WORKSPACE_BYTES)
        address = ctypes.c_void_p(self.runtime.pointer(workspace))
        _check(self.library.cublasCreate_v2(ctypes.byref(handle)), "cublasCreate")
        # The stream comes first: setting it forgets the workspace.
        _check(self.library.cublasSetStream_v2(handle, ctypes.c_void_p(stream)), "cublasSetStream")
        status = self.library.cublasSetWorkspace_v2(
            handle, address, ctypes.c_size_t(WORKSPACE_BYTES)
        )
        _check(status, "cublasSetWorkspace")
        return handle, workspace


def _size(number: int) -> Any:
    # ctypes would cut off what does not fit, silently.
    if number >= 2**31:
        raise UsageError(f"cuBLAS takes sizes below 2**31, got {number}: use smaller batches")
    return ctypes.c_int(number)


def _operand(matrix: Matrix, data: Any) -> tuple[Any, ...]:
    return (
        ctypes.c_void_p(matrix.pointer), data, _size(matrix.leading),
        ctypes.c_longlong(matrix.stride),
    )  # fmt: skip


def _compute(dtype: str) -> int:
    if dtype == "float64":
        return _COMPUTE_64F
    return _COMPUTE_32F_FAST_TF32 if dtype == "float32" and allows_tf32() else _COMPUTE_32F


def _check(status: int, function: str) -> None:
    if status != 0:
        raise RuntimeError(f"{function} returns the status {status}")


@cache
def load() -> Any:
    """The cuBLAS that CuPy uses as well."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)
    except (ImportError, RuntimeError, OSError) as error:
        message = f"cuBLAS was not found ({error}): pip install 'cupy-cuda13x[ctk]'"
        raise BackendUnavailable(message) from error
