"""The kernels in float16 and bfloat16, run on the host, against references in float32.

What the kernels take are short numbers, what they compute with is float32, and what they give is
rounded. So the bound is what that costs: ROUNDINGS[name] times the unit roundoff of the type, of
the sum of the terms' sizes, and float32's own tolerance.
"""

from __future__ import annotations

from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest

from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.testing import calls
from agnostic_dl_cupy import kernels
from agnostic_dl_cupy.blas import Blas
from agnostic_dl_cupy.rehearsal import host
from agnostic_dl_cupy.rehearsal.cublas import FakeCublas

ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is absent: NumPy has no bfloat16")
pytestmark = pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))

RUNTIME = host.HostRuntime()
KERNELS = kernels.bind(RUNTIME, Blas(RUNTIME, FakeCublas()))
DTYPES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
#: The smallest distance between two numbers of the type: what a result near zero is rounded to.
STEP = {"float16": 2.0**-24, "bfloat16": 2.0**-133}
EXACT = {"relu", "relu_grad", "max_pool2d"}  # they choose among the numbers that they are given
#: Sums of products: the terms' sizes are what the reference makes of sizes. Those that keep more
#: than the result in memory round more than once: the product before the bias, the columns.
ROUNDINGS = {"matmul": 1, "linear": 2, "conv2d": 1, "conv2d_input_grad": 2,
             "conv2d_weight_grad": 1, "conv2d_bias": 2}  # fmt: skip


def rounded(array: Any, dtype: Any) -> Any:
    return (
        array.astype(dtype) if getattr(array, "dtype", None) in (np.float32, np.float64) else array
    )


def widened(array: Any) -> Any:
    return array.astype(np.float32) if getattr(array, "dtype", None) in DTYPES.values() else array


def bound(name: str, dtype: str, arrays: Any, static: Any, wanted: Any) -> Any:
    """The largest error allowed, for each element."""
    if name in EXACT:
        return np.zeros(np.shape(wanted))
    finite = np.where(np.isfinite(wanted), np.abs(wanted), 0)
    scale = np.max(finite, initial=1.0)
    if name in ROUNDINGS:
        sizes = PRIMITIVES[name].forward(xp, *(np.abs(a) for a in arrays), **static)
        return ROUNDINGS[name] * UNIT[dtype] * sizes * 1.01 + 1e-5 * sizes.max() + STEP[dtype]
    return UNIT[dtype] * finite + 1e-5 * scale + STEP[dtype]


def compare(name: str, dtype: str, arrays: Any, static: Any) -> bool:
    got = KERNELS[name](xp, *arrays, **static)
    if got is NotImplemented:
        return False
    wide = [widened(a) for a in arrays]
    with np.errstate(all="ignore"):
        wanted = PRIMITIVES[name].forward(xp, *wide, **static)
        pairs = zip(got, wanted, strict=True) if isinstance(got, tuple) else [(got, wanted)]
        for one, other in pairs:
            if other.dtype == bool:  # where the rounded y, which may be 0, is positive
                np.testing.assert_array_equal(one, got[0] > 0, strict=True)
                continue
            assert (one.shape, one.dtype) == (other.shape, DTYPES[dtype])
            gap = np.abs(one.astype(np.float64) - other)
            same = (gap <= bound(name, dtype, wide, static, other)) | (
                one == other.astype(one.dtype)
            )
            assert np.all(same | (np.isnan(one) & np.isnan(other))), (name, np.nanmax(gap))
    return True


def cases(name: str, dtype: str) -> Any:
    """(arrays, static): the kit's calls, the numbers in the short type."""
    for call in (*calls.calls_of(name, xp, 12), *calls.large_calls(name, xp)):
        yield [rounded(a, DTYPES[dtype]) for a in call.arrays], call.static


@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("name", sorted(set(KERNELS) - {"dropout_mask"}))
def test_every_kernel_is_its_reference_rounded(name, dtype):
    taken = sum(compare(name, dtype, *case) for case in cases(name, dtype))
    assert taken > 0, "every call was declined"


@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("keep", [0.5, 0.9, 1.0])
def test_dropout_masks_are_float32s_rounded(dtype, keep):
    key = np.array([123, 0xFFFFFFFF], dtype=np.uint32)
    static = {"stream": (7, 0x80000000), "shape": (4097,), "keep": keep}
    got = KERNELS["dropout_mask"](xp, key, **static, dtype=DTYPES[dtype])
    wanted = PRIMITIVES["dropout_mask"].forward(xp, key, **static, dtype=np.dtype("float32"))
    np.testing.assert_array_equal(got, wanted.astype(DTYPES[dtype]))


@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("shape", [(3000, 16), (8, 6, 6, 70)])
def test_batch_norm_far_from_zero_is_not_normalized_by_rounded_statistics(dtype, shape):
    """The mean of what lies around 30 is off by a tenth where it is rounded to bfloat16."""
    draw = np.random.default_rng(0).standard_normal(shape) + 30.1
    x, ones = draw.astype(DTYPES[dtype]), np.ones(shape[-1], DTYPES[dtype])
    assert compare("batch_norm", dtype, [x, ones, ones], {"eps": 1e-5})


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_pooling_with_ties_nan_and_infinities(dtype):
    x = np.round(np.random.default_rng(1).standard_normal((2, 7, 9, 3)) * 2).astype(DTYPES[dtype])
    x[0, 2, 2, 0], x[0, 3, :, 1], x[1, 0, 0, 0] = np.nan, -np.inf, np.inf
    pool: dict[str, Any] = {"kernel": (3, 2), "stride": (2, 1), "padding": ((1, 0), (0, 1))}
    assert compare("max_pool2d", dtype, [x], pool)
    out = KERNELS["max_pool2d"](xp, x, **pool)
    ones = np.ones(out.shape, out.dtype)
    assert compare("max_pool2d_grad", dtype, [ones, x, out], pool)
    assert compare("avg_pool2d", dtype, [x], {**pool, "count_include_pad": False})


def test_float16_beyond_its_range_is_infinite_and_tiny_numbers_are_kept():
    x = np.array([[60000.0, 60000.0]], dtype=np.float16)
    assert compare("matmul", "float16", [x, np.ones((2, 1), np.float16)], {})
    small = np.array([2.0**-24, -(2.0**-24), 2.0**-14], dtype=np.float16)
    np.testing.assert_array_equal(KERNELS["relu"](xp, small), np.maximum(small, 0))
