"""The kernels' CUDA source, run on the host by g++, equals the references on NumPy."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.testing import kernels as kit
from agnostic_dl_cupy import kernels, reduction, templates
from agnostic_dl_cupy.blas import Blas
from agnostic_dl_cupy.rehearsal import host
from agnostic_dl_cupy.rehearsal.cublas import FakeCublas
from agnostic_dl_cupy.runtime import Launcher

pytestmark = pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))

RUNTIME = host.HostRuntime()
KERNELS = kernels.bind(RUNTIME, Blas(RUNTIME, FakeCublas()))
POOL: dict[str, Any] = {"kernel": (3, 2), "stride": (2, 1), "padding": ((1, 0), (0, 1))}


def normal(*shape: int, dtype: str = "float32") -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def same(name: str, *arrays: Any, tolerance: float = 0.0, **static: Any) -> Any:
    import array_api_compat.numpy as xp

    got = KERNELS[name](xp, *arrays, **static)
    assert got is not NotImplemented, f"{name} declined"
    wanted = PRIMITIVES[name].forward(xp, *arrays, **static)
    pairs = zip(got, wanted, strict=True) if isinstance(got, tuple) else [(got, wanted)]
    for one, other in pairs:
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        one, other = np.asarray(one, "float64"), np.asarray(other, "float64")
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * _scale(other))
    return got


def _scale(numbers: Any) -> float:
    finite = numbers[np.isfinite(numbers)]
    return max(float(abs(finite).max(initial=0.0)), 1.0)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_the_conformance_kits_calls(name):
    subject = kit.Subject(adl.get_backend("numpy"), KERNELS)
    assert "calls" in kit.compare_kernel(subject, name)


@pytest.mark.parametrize("shape", [(2, 7, 9, 3), (1, 4, 4, 40), (3, 16, 16, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_pooling(shape, dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes", reason="ml_dtypes is absent").bfloat16
    tolerance = {"float32": 1e-6, "float64": 1e-14}.get(str(dtype), 2e-2)
    x = np.round(normal(*shape) * 2).astype(dtype)  # with ties
    out = same("max_pool2d", x, **POOL)
    same("max_pool2d_grad", out, x, out, tolerance=tolerance, **POOL)
    for count in (True, False):
        same("avg_pool2d", x, tolerance=tolerance, count_include_pad=count, **POOL)
        same(
            "avg_pool2d_grad",
            out,
            tolerance=tolerance,
            size=shape[1:3],
            count_include_pad=count,
            **POOL,
        )


def test_max_pooling_of_nan_and_of_minus_infinity():
    x = normal(1, 6, 6, 2)
    x[0, 2, 2, 0], x[0, 3:, :, 1] = np.nan, -np.inf
    out = same("max_pool2d", x, **POOL)
    assert np.isnan(out).any()
    same("max_pool2d_grad", np.ones_like(out), x, out, tolerance=1e-6, **POOL)


@pytest.mark.parametrize("shape", [(1000, 1), (37, 5), (8, 6, 6, 70), (3000, 16), (2, 33)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_norm(shape, dtype):
    tolerance = {"float32": 5e-6, "float64": 1e-13}[dtype]
    x, g, channels = normal(*shape, dtype=dtype), normal(*shape, dtype=dtype) + 1, shape[-1]
    weight, bias = (normal(channels, dtype=dtype) for _ in range(2))
    _, mean, var = same("batch_norm", x, weight, bias, eps=1e-5, tolerance=tolerance)
    same("batch_norm_input_grad", g, x, mean, var, weight, eps=1e-5, tolerance=tolerance)
    same("batch_norm_weight_grad", g, x, mean, var, eps=1e-5, tolerance=tolerance)


@pytest.mark.parametrize("start", [0, 1], ids=["aligned", "not aligned"])
@pytest.mark.parametrize("channels", [8, 24, 320])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_norm_moves_neighbours_at_once_where_it_can(dtype, channels, start):
    def images(seed):
        memory = np.random.default_rng(seed).standard_normal(90 * channels + start).astype(dtype)
        return memory[start:].reshape(90, channels)

    tolerance = {"float32": 5e-6, "float64": 1e-13}[dtype]
    x, g, (weight, bias) = images(0), images(1), (normal(channels, dtype=dtype) for _ in range(2))
    launcher = Launcher(RUNTIME, dtype)
    width = 1 if start else 16 // x.itemsize
    assert reduction.packed(launcher, (x, reduction.NOWHERE, g)) == width
    _, mean, var, positive = same("batch_norm_relu", x, weight, bias, eps=1e-5, tolerance=tolerance)
    given = (g, x, mean, var, weight, positive)
    same("batch_norm_relu_gradients", *given, eps=1e-5, tolerance=tolerance)
    same("batch_norm_gradients", *given[:5], eps=1e-5, tolerance=tolerance)
    assert reduction.packed(launcher, (x[:, 1:],)) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1000, 1), (37, 5), (8, 6, 6, 70), (3000, 16), (2, 33)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_over_rows(shape, dtype):
    tolerance = {"float32": 5e-6, "float64": 1e-13}[dtype]
    x, rows = normal(*shape, dtype=dtype), tuple(range(len(shape) - 1))
    for keepdims in (False, True):
        static = {"dtype": None, "keepdims": keepdims, "tolerance": tolerance}
        same("sum", x, axis=rows, **static)
        same("sum", x[::-1], axis=tuple(a - len(shape) for a in rows[::-1]), **static)
    if len(rows) == 1:
        same("sum", x, axis=0, dtype=None, keepdims=False, tolerance=tolerance)


@pytest.mark.parametrize("static", [{"axis": 1}, {"axis": None}, {"axis": 0, "dtype": "float64"}])
def test_other_sums_are_cupys(static):
    static = {"dtype": None, "keepdims": False, **static}
    assert KERNELS["sum"](None, normal(5, 4), **static) is NotImplemented
    assert KERNELS["sum"](None, np.ones((5, 4), int), **static) is NotImplemented


def test_relu_in_batch_norm_keeps_nan_and_holds_it_for_not_positive():
    x = normal(8, 3)
    x[2, 1] = np.nan
    ones, zeros = np.ones(3, "f4"), np.zeros(3, "f4")
    y, _, _, positive = KERNELS["batch_norm_relu"](None, x, ones, zeros, eps=1e-5)
    assert np.isnan(y[:, 1]).all()
    assert not np.isnan(y[:, ::2]).any()
    np.testing.assert_array_equal(positive, y > 0)


def test_the_variance_of_float32_far_from_zero():
    x = normal(4096, 3) + np.float32(1000)
    _, _, var = KERNELS["batch_norm"](None, x, np.ones(3, "f4"), np.zeros(3, "f4"), eps=1e-5)
    np.testing.assert_allclose(var, x.astype("float64").var(axis=0), rtol=2e-5)


@pytest.mark.parametrize("classes", [1, 2, 10, 100, 1000])
@pytest.mark.parametrize("labels", ["int32", "int64"])
def test_cross_entropy(classes, labels):
    logits, g = normal(35, classes) * 30, normal(35)
    target = (np.arange(35) % classes).astype(labels)
    same("softmax_cross_entropy", logits, target, tolerance=1e-6)
    same("softmax_cross_entropy_grad", g, logits, target, tolerance=1e-6)


@pytest.mark.parametrize("size", [1, 2, 7, 1000, 4097])
@pytest.mark.parametrize("keep", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_masks_to_the_bit(size, keep, dtype):
    key = np.array([123, 0xFFFFFFFF], dtype=np.uint32)
    static = {"stream": (7, 0x80000000), "shape": (size,), "keep": keep, "dtype": np.dtype(dtype)}
    same("dropout_mask", key, **static)


def test_relu_keeps_nan():
    x = np.array([-1.0, np.nan, 2.0, 0.0, -np.inf, np.inf], dtype="float32")
    same("relu", x)
    same("relu_grad", np.ones(6, "float32"), np.maximum(x, 0))


@pytest.mark.parametrize("name", sorted(kernels.FUNCTIONS))
def test_what_the_kernels_are_not_made_for_is_declined(name):
    arrays = [np.zeros((0, 2, 2, 1), "float32")] * len(PRIMITIVES[name].array_names)
    static: dict[str, Any] = {}
    if "pool" in name:
        static = {**POOL, "size": (2, 2)} if name == "avg_pool2d_grad" else POOL
    elif "batch" in name:
        static = {"eps": 1e-5}
    elif "dropout" in name:
        static = {"stream": (0, 1), "shape": (2,), "keep": 0.5, "dtype": np.dtype("float32")}
    assert KERNELS[name](None, *arrays, **static) is NotImplemented


def test_the_list_of_meeting_kernels_is_whole():
    for variant in templates.variants():
        meeting = {"__syncthreads", "SOFTMAX"}
        for part in re.split(r"__device__ inline |__global__ ", templates.source(variant))[1:]:
            name = re.search(r"(\w+)\(", part)[1]
            if meeting & set(re.findall(r"\w+", part.split("\n}")[0])):
                meeting.add(name)
        kernels = set(templates.UNITS[variant.unit])
        assert meeting & kernels == kernels & set(host._MEET)


@pytest.mark.parametrize(
    "wrong", [8.0, 8, np.float64(8), np.int64(8)], ids=["float", "int", "float64", "int64"]
)
def test_numbers_as_wide_as_their_parameters_are_asked_for(wrong):
    """On a device a plain number of Python's would be half a double, without a word."""
    variant, array = templates.Variant("elementwise", "float32"), np.zeros(4, np.float32)
    arguments = [array, array, np.int64(4), np.int32(2), np.int32(0)]
    RUNTIME.launch(variant, "add_bias", (1,), 32, arguments)
    with pytest.raises(TypeError, match=r"add_bias takes parameters of \[8, 8, 8, 4, 4\] bytes"):
        RUNTIME.launch(variant, "add_bias", (1,), 32, [*arguments[:3], wrong, arguments[4]])
    with pytest.raises(TypeError, match="takes parameters"):
        RUNTIME.launch(variant, "add_bias", (1,), 32, arguments[:4])
