"""Products and convolutions: what cuBLAS is asked for, computed by a stand-in on the host."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest

from agnostic_dl.extend import UsageError
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl_cupy import blas, convolution, kernels, precision
from agnostic_dl_cupy.rehearsal import host
from agnostic_dl_cupy.rehearsal.cublas import FakeCublas

pytestmark = pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))

PLAIN: dict[str, Any] = {
    "stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1
}  # fmt: skip
UNEVEN = {"stride": (2, 3), "padding": ((0, 2), (1, 0)), "dilation": (2, 1), "groups": 2}


@pytest.fixture
def library() -> FakeCublas:
    return FakeCublas()


@pytest.fixture
def runtime() -> host.HostRuntime:
    return host.HostRuntime()


@pytest.fixture
def bound(runtime, library):
    return kernels.bind(runtime, blas.Blas(runtime, library))


def normal(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


def same(bound: Any, name: str, *arrays: Any, **static: Any) -> None:
    got = bound[name](xp, *arrays, **static)
    assert got is not NotImplemented, f"{name} declined"
    wanted = PRIMITIVES[name].forward(xp, *arrays, **static)
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * max(abs(wanted).max(), 1))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (normal(3, 4), normal(4, 5)),
        (normal(4, 3).T, normal(4, 5)),
        (normal(3, 4), normal(5, 4).T),
        (normal(4, 3).T, normal(5, 4).T),
        (normal(3, 8)[:, ::2], normal(4, 5)),
        (normal(3, 9)[:, 2:6], normal(4, 7)[:, :5]),
        (normal(2, 3, 4), normal(4, 5)),
        (normal(2, 3, 4), normal(2, 4, 5)),
        (normal(1, 4), normal(4, 1)),
        (normal(4, 1), normal(1, 5)),
        (normal(5, 4)[::-1], normal(4, 2)),
    ],
)
def test_products_of_every_layout(bound, x, y):
    same(bound, "matmul", x, y)


def test_products_that_are_declined(bound):
    assert bound["matmul"](xp, normal(4), normal(3, 5)) is NotImplemented
    assert bound["matmul"](xp, normal(3, 4), normal(3, 5)) is NotImplemented
    assert bound["matmul"](xp, normal(3, 0), normal(0, 5)) is NotImplemented
    assert bound["matmul"](xp, normal(2, 3, 4), normal(3, 4, 5)) is NotImplemented
    assert bound["linear"](xp, normal(3, 4), normal(4, 5), normal(4)) is NotImplemented
    assert bound["linear"](xp, normal(3, 4), normal(4, 5).astype("f8"), normal(5)) is NotImplemented


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_linear(bound, shape):
    same(bound, "linear", normal(*shape), normal(4, 5), normal(5))


@pytest.mark.parametrize("columns", [1, 1 << 26], ids=["image by image", "at once"])
@pytest.mark.parametrize(
    ("image", "weight", "static"),
    [
        ((3, 6, 5, 4), (3, 3, 4, 6), PLAIN),
        ((3, 9, 8, 4), (3, 2, 2, 6), UNEVEN),
        ((2, 5, 5, 6), (3, 3, 1, 6), {**PLAIN, "groups": 6}),
        ((2, 4, 4, 3), (1, 1, 3, 5), {**PLAIN, "padding": ((0, 0), (0, 0)), "stride": (2, 2)}),
    ],
)
def test_convolutions_by_columns(bound, monkeypatch, columns, image, weight, static):
    monkeypatch.setattr(convolution, "COLUMNS", columns)
    x, w = normal(*image), normal(*weight)
    same(bound, "conv2d", x, w, **static)
    g = normal(*PRIMITIVES["conv2d"].forward(xp, x, w, **static).shape)
    same(bound, "conv2d_input_grad", g, w, size=image[1:3], **static)
    same(bound, "conv2d_weight_grad", x, g, kernel=weight[:2], **static)


def test_convolutions_that_are_declined(bound):
    x, w = normal(1, 4, 4, 2), normal(3, 3, 2, 2)
    cropped = {**PLAIN, "padding": ((-1, 0), (0, 0))}
    assert bound["conv2d"](xp, x, w, **cropped) is NotImplemented
    assert bound["conv2d"](xp, x, normal(3, 3, 3, 2), **PLAIN) is NotImplemented
    assert bound["conv2d"](xp, x[:, :1, :1], normal(5, 5, 2, 2), **PLAIN) is NotImplemented
    assert bound["conv2d_input_grad"](xp, x, w, size=(9, 9), **PLAIN) is NotImplemented


def test_one_handle_for_each_thread_and_stream_with_its_workspace_set_last(bound, runtime, library):
    def multiply() -> None:
        bound["matmul"](xp, normal(3, 4), normal(4, 5))

    multiply()
    multiply()
    runtime.current_stream = 77
    multiply()
    runtime.current_stream = 0
    thread = threading.Thread(target=multiply)
    thread.start()
    thread.join()
    multiply()
    names = [call[0] for call in library.calls]
    made = ["create", "stream", "workspace", "gemm"]
    assert names == [*made, "gemm", *made, *made, "gemm"]
    assert [call[2] for call in library.calls if call[0] == "stream"] == [0, 77, 0]
    assert {call[2] for call in library.calls if call[0] == "workspace"} == {32 << 20}
    assert library.calls[-1][1] == 1


def test_tf32_is_asked_for_only_where_it_is_allowed(bound, library, monkeypatch):
    monkeypatch.delenv(precision.VARIABLE, raising=False)
    for dtype in ("float32", "float64", "float16"):
        x = np.ones((2, 2), dtype)
        bound["matmul"](xp, x, x)
        with precision.tf32():
            bound["matmul"](xp, x, x)
    computes = [call[2] for call in library.calls if call[0] == "gemm"]
    assert computes == [68, 77, 70, 70, 68, 68]


def test_a_failing_call_of_cublas_is_an_error(bound, library):
    library.cublasCreate_v2 = lambda place: 1
    with pytest.raises(RuntimeError, match="cublasCreate returns the status 1"):
        bound["matmul"](xp, normal(2, 2), normal(2, 2))


def test_a_size_that_cublas_has_no_number_for_is_refused():
    library = FakeCublas()
    huge = blas.Product(2**31, 1, 1, "float32")
    with pytest.raises(UsageError, match=r"below 2\*\*31, got 2147483648"):
        blas.Blas(host.HostRuntime(), library).multiply(huge, *[blas.Matrix(0, 1)] * 3)


def test_libraries_are_called_with_the_arrays_device_current(runtime, library):
    """The handles belong to the device that is current where they are made."""
    noted = []

    @contextmanager
    def current():
        noted.append("enter")
        yield
        noted.append("leave")

    runtime.current = current
    library.cublasCreate_v2 = lambda place: noted.append("create") or 0
    library.cublasGemmStridedBatchedEx = lambda *given: noted.append("gemm") or 0
    kernels.bind(runtime, blas.Blas(runtime, library))["matmul"](xp, normal(2, 3), normal(3, 2))
    assert noted == ["enter", "create", "gemm", "leave"]


@pytest.mark.parametrize(("count", "launches"), [(1, 1), (20, 1), (127, 1), (300, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64"])
def test_packing_is_one_launch_for_many_arrays(runtime, bound, count, launches, dtype):
    arrays = [normal(2, 3, k % 40 + 1)[:, ::-1].astype(dtype) for k in range(count)]
    arrays[1:1] = [np.array(5, dtype), np.zeros((0, 2), dtype)]

    class NoConcat:
        """Of more than eight arrays CuPy's concat sends a table from the host."""

    got = bound["pack"](NoConcat, *arrays)
    # Dtypes without kernels are copied array by array.
    assert len(runtime.calls) == (0 if dtype == "int64" else launches)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, PRIMITIVES["pack"].forward(xp, *arrays))
    assert bound["pack"](NoConcat, normal(2), normal(2).astype("f8")) is NotImplemented


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (17, 33), (3, 100)])
def test_transposition(runtime, shape):
    matrix = normal(*shape)
    np.testing.assert_array_equal(convolution.transpose(runtime, matrix), matrix.T)


@pytest.mark.parametrize("size", [1, 5, 1000, 4099, 100_003])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("start", [0, 1], ids=["aligned", "not aligned"])
def test_the_product_of_two_vectors_is_not_cublass(bound, library, size, dtype, start):
    """A step's guard asks by it whether all gradients are finite."""
    draw = np.random.default_rng(size)
    x, y = (draw.standard_normal(size + start).astype(dtype)[start:] for _ in range(2))
    got = bound["matmul"](xp, x, y)
    assert (got.shape, got.dtype) == ((), x.dtype)
    scale = float(np.abs(x.astype("f8")) @ np.abs(y.astype("f8")))
    exact = float(x.astype("f8") @ y.astype("f8"))
    assert abs(float(got) - exact) <= {"float32": 1e-6, "float64": 1e-14}[dtype] * scale
    assert library.calls == []
    x[size // 2] = np.nan
    assert np.isnan(bound["matmul"](xp, x, y))


@pytest.mark.parametrize(("left", "right"), [((3, 5), (5,)), ((2, 3, 5), (5,)), ((5,), (5, 4))])
def test_products_with_a_vector_are_cublass(bound, left, right):
    same(bound, "matmul", normal(*left), normal(*right))
    assert bound["matmul"](xp, normal(4), normal(5)) is NotImplemented
    assert bound["matmul"](xp, normal(5), normal(2, 5, 3)) is NotImplemented
