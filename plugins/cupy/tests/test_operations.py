"""Each operation of generated kernels: it compiles, flushes nothing, and is the primitive's."""

from __future__ import annotations

import device_compiler
import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.extend import Instruction, Literal, Program, Value, chained
from agnostic_dl_cupy.codegen import accepts, source_of
from agnostic_dl_cupy.codegen.operations import ARITHMETIC, LOGIC, QUESTIONS, SPECIAL, STORED
from agnostic_dl_cupy.codegen.preamble import preamble
from agnostic_dl_cupy.rehearsal import chains, host
from agnostic_dl_cupy.templates import OPTIONS

needs_host = pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))

UNARY = ["negative", "positive", "abs", "square", "sqrt", "reciprocal", "relu", "sign", "floor",
         "ceil", "round", "trunc", "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos",
         "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
         "sigmoid", "isfinite", "isnan", "isinf", "signbit", "zeros_like", "ones_like"]  # fmt: skip
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "relu_grad", "copysign",
          "hypot", "pow", "atan2", "logaddexp", "equal", "not_equal", "less", "less_equal",
          "greater", "greater_equal"]  # fmt: skip
#: Functions that libraries compute as they see fit: units in the last place that may differ. In
#: sigmoid the last places of tanh become higher ones when 1 is added to what is near -1.
ULPS = {"hypot": 2, "pow": 4, "atan2": 4, "logaddexp": 4, "sigmoid": 16, "exp": 4, "expm1": 4,
        "log": 4, "log1p": 4, "log2": 4, "log10": 4, "sin": 4, "cos": 4, "tan": 6, "asin": 4,
        "acos": 4, "atan": 4, "sinh": 4, "cosh": 4, "tanh": 4,
        "asinh": 4, "acosh": 4, "atanh": 4}  # fmt: skip


def kernel(op, ins, read, made):
    """The kernel of one operation on arrays of these dtypes, or None if it is declined."""
    values = {n: Value((8,), dtype) for n, dtype in enumerate(read)} | {9: Value((8,), made)}
    inner = Instruction(op, ins, (9,), {"dtype": made} if op == "astype" else {})
    program = Program(values, (inner,), {}, {"out": 9})
    if not accepts(program, inner):
        return None
    return source_of(chained(program, accepts, least=1).code[0], values)


def kernels(dtype):
    """Operation → its kernel, in one dtype."""
    made = {
        op: kernel(op, (0, 1)[: 1 + (op in BINARY)], [dtype] * 2,
                   "bool" if op in QUESTIONS else dtype)
        for op in (*UNARY, *BINARY)
    }  # fmt: skip
    limits = (0, Literal(float("nan")), Literal(float("inf")))
    made["clip"] = kernel("clip", limits, [dtype], dtype)
    made["where"] = kernel("where", (1, 0, Literal(float("-inf"))), [dtype, "bool"], dtype)
    made |= {op: kernel(op, (0, 1), ["bool"] * 2, "bool") for op in LOGIC - {"logical_not"}}
    made["logical_not"] = kernel("logical_not", (0,), ["bool"], "bool")
    made |= {f"to {to}": kernel("astype", (0,), [dtype], to) for to in STORED}
    return made | {"from bool": kernel("astype", (0,), ["bool"], dtype)}


@pytest.mark.parametrize(
    ("dtype", "declined"),
    [("float32", set()), ("float64", {"to float16", "to bfloat16"}), ("float16", {"sigmoid"}),
     ("bfloat16", {"sigmoid"})],
)  # fmt: skip
def test_every_operation_compiles_and_flushes_nothing_that_is_numpys_to_the_bit(dtype, declined):
    """CuPy has NVRTC flush subnormal numbers to zero, wherever PTX itself does not say how."""
    device_compiler.require()
    made = kernels(dtype)
    assert {op for op, k in made.items() if k is None} == declined
    assert made.keys() >= ARITHMETIC | QUESTIONS | LOGIC | (SPECIAL - {"astype"})
    made = {op: k for op, k in made.items() if k is not None}
    for exact in (True, False):
        part = {k.name: k.body for op, k in made.items() if (op not in ULPS) is exact}
        compiled = device_compiler.compiled(preamble() + "".join(part.values()), 90, OPTIONS)
        assert set(compiled.kernels) == set(part)
        assert not exact or ".ftz" not in compiled.ptx


@needs_host
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", [*UNARY, *BINARY])
def test_each_operation_is_the_primitive(op, dtype):
    special = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-40, 3.0, -1e-42]
    draw = np.random.default_rng(1).normal(size=40)
    x = np.array([*special, *draw], dtype=dtype)
    y = np.array([*special[::-1], *draw[::-1]], dtype=dtype)
    arrays = [x] if op in UNARY else [x, y]
    with adl.use_backend("numpy"), np.errstate(all="ignore"):
        expected = adl.extend.PRIMITIVES[op](*arrays)
    made = Value(x.shape, str(expected.dtype))
    values = {0: Value(x.shape, dtype), 1: Value(x.shape, dtype), 2: made}
    inner = Instruction(op, tuple(range(len(arrays))), (2,))
    program = Program(values, (inner,), {}, {"out": 2})
    assert accepts(program, inner)
    chain = chained(program, accepts, least=1).code[0]
    out = np.empty(x.shape, expected.dtype)
    run = chains.compiled(source_of(chain, values))
    run(x.size, x.size // 4, [arrays[n] for n in chain.reads], [out])
    if op in ULPS:
        both = np.isfinite(expected) & (np.abs(expected) > 1e-30)
        np.testing.assert_array_max_ulp(out[both], expected[both], ULPS[op])
        rest = ~both
        np.testing.assert_allclose(out[rest], expected[rest], atol=1e-30)
    else:
        np.testing.assert_array_equal(out, expected)
