"""Casts at the primitives: which dtype each computes in, and that a parameter is cast once."""

from __future__ import annotations

import importlib

import array_api_compat.numpy as xp
import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.backend import DTYPE_NAMES
from agnostic_dl.errors import DTypeError
from agnostic_dl.primitives import PRIMITIVES as P
from agnostic_dl.primitives.dtypes import dtype_name, dtype_named, isdtype
from agnostic_dl.primitives.precision import OWN, SHORT, WIDE, Casting
from agnostic_dl.primitives.recorder import Recorder

F16, F32, F64 = (np.dtype(name) for name in ("float16", "float32", "float64"))


def test_the_table_names_primitives_each_once():
    assert set(P) >= SHORT | WIDE | OWN
    assert not SHORT & WIDE
    assert not (SHORT | WIDE) & OWN


def array(dtype, shape=(3, 3), low=0.5):
    return np.linspace(low, 1.5, int(np.prod(shape))).reshape(shape).astype(dtype)


def casting(**masters):
    return Casting(F16, F32, masters)


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("matmul", (F32, F32), F16), ("matmul", (F16, F32), F16), ("exp", (F16,), F32),
        ("sum", (F16,), F32), ("softmax", (F16,), F32), ("linalg.outer", (F16, F16), F32),
        ("add", (F16, F16), F16), ("add", (F16, F32), F32), ("add", (F32, F32), F32),
        ("relu", (F16,), F16), ("tanh", (F16,), F16), ("tanh", (F32,), F32),
        ("less", (F16, F32), np.dtype(bool)), ("matmul", (F64, F64), F16), ("add", (F64, F16), F64),
        ("matmul", (F64, F32), F16), ("matmul", (np.dtype("uint8"), F32), F16),
        ("matmul", (np.dtype("int64"), F16), F16), ("matmul", (np.dtype("int32"),) * 2, "int32"),
        ("matmul", (np.dtype("complex64"), F32), "complex64"),
        ("ones_like", (F16,), F16),
    ],
)  # fmt: skip
def test_what_is_computed_in_what(name, given, wanted):
    arrays = [array(dtype, (3,) if name == "linalg.outer" else (3, 3)) for dtype in given]
    with casting().watching():
        out = P[name](*arrays)
    assert out.dtype == wanted
    assert P[name](*arrays).dtype == P[name].forward(xp, *arrays).dtype  # as ever outside


def test_python_numbers_do_not_widen():
    bfloat16 = np.dtype(pytest.importorskip("ml_dtypes", reason="ml_dtypes is absent").bfloat16)
    x = array(bfloat16)
    with Casting(bfloat16, F32, {}).watching():
        assert P["multiply"](x, 0.5).dtype == bfloat16
        assert P["sigmoid"](x).dtype == bfloat16
        assert P["maximum"](0.0, x).dtype == bfloat16
        assert P["matmul"](x, x).dtype == bfloat16


def test_a_parameter_follows_what_it_meets():
    bias, short, wide = array(F32, (3,)), array(F16), array(F32)
    with casting(bias=bias).watching():
        assert P["add"](short, bias).dtype == F16
        assert P["add"](wide, bias).dtype == F32
        assert P["square"](bias).dtype == F32


def test_a_parameter_is_cast_once_its_views_too():
    weight, x = array(F32), array(F16)
    recorder = Recorder(xp)
    recorder.input("weight", weight)
    recorder.input("x", x)
    with recorder.watching(), casting(weight=weight).watching():
        P["matmul"](x, weight)
        P["matmul"](x, P["matrix_transpose"](weight))
        P["matmul"](x, P["reshape"](P["matrix_transpose"](weight), shape=(3, 3)))
        P["multiply"](x, weight)
    casts = [i for i in recorder.code if i.op == "astype"]
    assert len(casts) == 1
    assert casts[0].static["dtype"] == "float16"
    values = {n: v.dtype for n, v in recorder.values.items()}
    assert all(values[n] == "float16" for i in recorder.code if i.op == "matmul" for n in i.reads)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_batch_norm_of_short_images_has_float32_statistics(name):
    """As PyTorch's: the images are short, the weight and what is summed float32."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    short = dtype_named(xp, name) if name == "float16" else pytest.importorskip(
        "ml_dtypes", reason="ml_dtypes is absent").bfloat16  # fmt: skip
    draw = np.random.default_rng(0)
    x, g = ((draw.normal(3, 2, (8, 5, 5, 4))).astype(short) for _ in range(2))
    weight, bias = (draw.normal(1, 0.2, 4).astype(np.float32) for _ in range(2))
    y, mean, var = P["batch_norm"](x, weight, bias, eps=1e-5)
    dx = P["batch_norm_input_grad"](g, x, mean, var, weight, eps=1e-5)
    dw = P["batch_norm_weight_grad"](g, x, mean, var, eps=1e-5)
    assert [a.dtype for a in (y, dx, mean, var, dw)] == [x.dtype, x.dtype, F32, F32, F32]
    together = P["batch_norm_gradients"](g, x, mean, var, weight, eps=1e-5)
    assert [a.dtype for a in together] == [x.dtype, F32, F32]
    np.testing.assert_allclose(together[2], g.astype(np.float64).sum((0, 1, 2)), rtol=1e-5)

    wide = torch.tensor(x.astype(np.float32)).requires_grad_()
    w, b = torch.tensor(weight).requires_grad_(), torch.tensor(bias)
    out = torch.nn.functional.batch_norm(
        wide.permute(0, 3, 1, 2), None, None, w, b, training=True, eps=1e-5
    ).permute(0, 2, 3, 1)
    out.backward(torch.tensor(g.astype(np.float32)))
    roundoff = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[name]
    for ours, theirs in ((y, out), (dx, wide.grad)):
        theirs = theirs.detach().numpy()
        np.testing.assert_allclose(ours.astype(np.float32), theirs, rtol=roundoff, atol=1e-4)
    np.testing.assert_allclose(dw, w.grad.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean((0, 1, 2)), rtol=1e-5)


def test_short_floats_are_real_floating_dtypes():
    assert isdtype(xp, F16, "real floating")
    assert isdtype(xp, F16, ("complex floating", "real floating"))
    assert not isdtype(xp, F16, "complex floating")
    assert not isdtype(xp, np.dtype(np.int16), "real floating")
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is absent")
    assert isdtype(xp, np.dtype(ml_dtypes.bfloat16), "numeric")
    assert dtype_name(np.dtype(ml_dtypes.bfloat16), xp) == "bfloat16"


@pytest.mark.parametrize("library", ["numpy", "strict", "array_api_compat.torch", "jax.numpy"])
def test_every_dtype_is_found_by_its_name(library):
    names = DTYPE_NAMES
    if library in ("numpy", "strict"):
        backend = adl.get_backend(library)
        xp, names = backend.xp, tuple(backend.dtypes)
    else:
        pytest.importorskip(library.split(".")[-1 if "torch" in library else 0],
                            reason=f"{library} cannot be imported")  # fmt: skip
        xp = importlib.import_module(library)
    for name in names:
        dtype = dtype_named(xp, name)
        assert dtype_name(dtype, xp) == name
        if library in ("numpy", "strict"):
            assert dtype_name(xp.ones(1, dtype=dtype).dtype, xp) == name


def test_a_dtype_that_nobody_has_is_named():
    strict = adl.get_backend("strict")
    with pytest.raises(DTypeError, match="'strict' has no dtype bfloat16"):
        dtype_named(strict.xp, "bfloat16")
