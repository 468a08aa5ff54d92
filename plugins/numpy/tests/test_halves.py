"""Short floats: the kernels of float32, rounded once; and the dtypes that the backend has."""

from __future__ import annotations

import builtins
import itertools

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.primitives.precision import Casting
from agnostic_dl.testing.calls import OPERATIONS, calls_of
from agnostic_dl_numpy import NumpyBackend, halves

CALLS = {
    "matmul": (((40, 30), (30, 20)), {}),
    "linear": (((40, 30), (30, 20), (20,)), {}),
    "conv2d": (
        ((2, 9, 8, 3), (3, 2, 3, 5)),
        {"stride": (2, 1), "padding": ((1, 0), (0, 1)), "dilation": (1, 1), "groups": 1},
    ),
    "max_pool2d": (
        ((2, 9, 8, 3),), {"kernel": (3, 2), "stride": (2, 1), "padding": ((1, 0), (0, 1))}
    ),
    "avg_pool2d": (
        ((2, 9, 8, 3),),
        {"kernel": (3, 2), "stride": (2, 1), "padding": ((1, 0), (0, 1)),
         "count_include_pad": False},
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", list(halves.dtypes()))
@pytest.mark.parametrize("name", list(CALLS))
@pytest.mark.parametrize("kernels", [None, ()])
def test_a_short_result_is_float32s_rounded_once(name, dtype, kernels):
    shapes, static = CALLS[name]
    draw = np.random.default_rng(0)
    short = [draw.normal(size=shape).astype(halves.dtypes()[dtype]) for shape in shapes]
    with adl.use_backend("numpy", kernels=kernels):
        found = PRIMITIVES[name](*short, **static)
        wide = PRIMITIVES[name](*(a.astype(np.float32) for a in short), **static)
    assert found.dtype == halves.dtypes()[dtype]
    np.testing.assert_array_equal(found, wide.astype(found.dtype))


@pytest.mark.parametrize("dtype", list(halves.dtypes()))
def test_the_fused_convolution_is_its_parts_to_the_bit(dtype):
    (image, weight), static = CALLS["conv2d"]
    draw = np.random.default_rng(0)
    x, w, b = (draw.normal(size=s).astype(halves.dtypes()[dtype]) for s in (image, weight, (5,)))
    fused = PRIMITIVES["conv2d_bias"](x, w, b, relu=True, **static)
    parts = PRIMITIVES["relu"](PRIMITIVES["add"](PRIMITIVES["conv2d"](x, w, **static), b))
    np.testing.assert_array_equal(fused, parts)
    assert fused.dtype == x.dtype


def _floats(arrays, short, *dtypes):
    """The arrays with those of floats rounded to the short dtype, then in these in turn."""
    turn = itertools.cycle(dtypes)
    return tuple(
        a.astype(short).astype(next(turn))
        if getattr(a, "dtype", None) in (np.float32, np.float64)
        else a
        for a in arrays
    )


def _parts(out):
    return [np.asarray(part) for part in (out if isinstance(out, tuple) else (out,))]


def _takes_real_floats(call):
    dtypes = [a.dtype for a in call.arrays if hasattr(a, "dtype")]
    return np.float64 in dtypes and not any(dtype.kind == "c" for dtype in dtypes)


@pytest.mark.parametrize("dtype", list(halves.dtypes()))
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_primitive_computes_in_mixed_precision(name, dtype):
    """On short arrays, and on short ones beside float32: float32's result within some roundings."""
    short, wide = halves.dtypes()[dtype], np.dtype("float32")
    calls = calls_of(name, adl.get_backend("numpy").xp, 4)
    calls = [call for call in calls if _takes_real_floats(call)]
    if not calls:
        pytest.skip("it takes no real floats")
    for call in calls:
        with np.errstate(all="ignore"):
            theirs = _parts(call.primitive.run(_floats(call.arrays, short, wide), call.static))
        for dtypes in ((short,), (short, wide)):
            arrays = _floats(call.arrays, short, *dtypes)
            with np.errstate(all="ignore"), Casting(short, wide, {}).watching():
                ours = _parts(PRIMITIVES[name](*arrays, **call.static))
            for found, expected in zip(ours, theirs, strict=True):
                _close(found, expected, short)


def _close(found, expected, short):
    if expected.dtype != np.float32:  # told a dtype, or none of floats
        assert found.dtype == expected.dtype
    else:
        assert found.dtype in (short, np.float32)
        finite = np.isfinite(expected)
        size = max(np.max(np.abs(expected), initial=0, where=finite), 1)
        roundoff = 2.0**-11 if short == np.float16 else 2.0**-8
        np.testing.assert_allclose(
            found.astype(np.float32), expected, rtol=0, atol=8 * roundoff * size
        )


def test_clip_takes_limits_of_every_kind():
    for dtype in halves.dtypes().values():
        x, low = np.linspace(-2, 2, 9).astype(dtype), np.full(9, -0.5, dtype)
        for limits, wide in (((low, 1.0), (-0.5, 1.0)), ((None, 1), (None, 1)), ((low,), (-0.5,))):
            found = PRIMITIVES["clip"](x, *limits)
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, np.clip(x.astype(np.float32), *wide, *(
                [None] if len(wide) == 1 else [])).astype(dtype))  # fmt: skip


def test_other_arguments_are_declined():
    short, wide = np.ones((2, 2), np.float16), np.ones((2, 2), np.float32)
    for arrays in ((short, wide), (wide, wide), (short, 1.0)):
        assert halves.KERNELS["matmul"](np, *arrays) is NotImplemented


def test_beyond_the_range_is_infinite_without_a_word():
    x = np.full((1, 4), 300.0, np.float16)
    assert np.isinf(PRIMITIVES["matmul"](x, x.T)).all()


def test_bfloat16_is_there_with_ml_dtypes_only(monkeypatch):
    plain = builtins.__import__

    def without(name, *rest, **more):
        if name == "ml_dtypes":
            raise ImportError(name)
        return plain(name, *rest, **more)

    halves.dtypes.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    try:
        assert "bfloat16" not in NumpyBackend().dtypes
        assert NumpyBackend().dtypes["float16"] == np.float16
    finally:
        monkeypatch.undo()
        halves.dtypes.cache_clear()


def test_arrays_of_bfloat16_by_name():
    pytest.importorskip("ml_dtypes", reason="ml_dtypes is absent")
    backend = adl.get_backend("numpy")
    assert backend.asarray([1.0, 2.0], dtype="bfloat16").dtype == backend.dtypes["bfloat16"]
