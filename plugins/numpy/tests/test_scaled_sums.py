"""Sums with a multiple in one pass: the bits of two operations, and only where they may lie."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_programs import run

import agnostic_dl as adl
from agnostic_dl.extend import CHAIN, Instruction, Literal, Program, Value, chained
from agnostic_dl.testing.programs import update_program
from agnostic_dl_numpy import blas
from agnostic_dl_numpy.plan import chains
from agnostic_dl_numpy.plan.pointwise import accepts
from agnostic_dl_numpy.plan.scaled_sums import SCALED_SUM, Taken, with_scaled_sums

LONG = chains.SMALL + 3

needs_axpby = pytest.mark.skipif(
    blas.axpby("f") is None, reason="NumPy's BLAS here has no axpby with NumPy's bits"
)


@pytest.fixture(autouse=True)
def own_kernels():
    with adl.use_backend("numpy", kernels=()) as backend:
        yield backend


def operations(name):
    """How often each operation stands in the code that the update of an optimizer runs as."""
    program = chained(update_program(adl.optimizer(name), LONG), accepts)
    (chain,) = [i for i in program.code if i.op == CHAIN]
    arrays = {n: np.ones(program.values[n].shape, np.float32) for n in (*chain.reads, *chain.outs)}
    for output, to in program.donations.items():
        arrays[program.outputs[output]] = arrays[program.inputs[to]]
    code = chains._code(chain, [arrays[n] for n in chain.reads], [arrays[n] for n in chain.outs])
    return Counter(i.op for i in code.code)


@needs_axpby
def test_moving_averages_are_scaled_sums():
    assert operations("adam") == {
        "multiply": 3, SCALED_SUM: 3, "square": 1, "sqrt": 1, "add": 1, "divide": 1
    }  # fmt: skip
    assert operations("momentum") == {"multiply": 1, SCALED_SUM: 2}


def test_without_it_numpy_takes_two_passes(monkeypatch):
    monkeypatch.setattr(blas, "axpby", lambda kind: None)
    assert SCALED_SUM not in operations("adam")


def combined(steps, outs):
    """Arrays a, b, c and a number k → sums, differences and products of them, in any order."""
    values = {n: Value((LONG,), "float32") for n in range(3)} | {3: Value((), "float32")}
    code, numbers = [], {"k": 3, "half": Literal(0.5)}
    for op, *operands in steps:
        number = 4 + len(code)
        known = [n for n in range(number) if n != 3]
        ins = [numbers[o] if isinstance(o, str) else known[o % len(known)] for o in operands]
        code.append(Instruction(op, tuple(ins), (number,), {}))
        values[number] = Value((LONG,), "float32")
    made = [i.outs[0] for i in code]
    outputs = dict(zip("abc", [made[-1], *(made[o % len(made)] for o in outs)], strict=False))
    inputs = {"a": 0, "b": 1, "c": 2, "rate": 3}
    return Program(values, tuple(code), inputs, outputs, {name: name for name in outputs})


ANY = st.integers(0, 20)
SUMS = st.tuples(st.sampled_from(["add", "subtract", "multiply", "maximum"]), ANY, ANY)
PRODUCTS = st.tuples(st.just("multiply"), st.sampled_from(["k", "half"]), ANY)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(SUMS, PRODUCTS), min_size=2, max_size=9), st.lists(ANY, max_size=2)
)  # fmt: skip
def test_any_sums_keep_their_bits(steps, outs):
    backend = adl.get_backend("numpy")
    with np.errstate(all="ignore"):
        _, outcomes = run(combined(steps, outs), backend, spoiled=True)
    for found, wanted in outcomes:
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)


def bound(dtype, number, op="add", product_first=False):
    """y ← x ± number·y as a chain with a number that is known at run time."""
    x, y = (np.random.default_rng(s).normal(size=LONG).astype(dtype) for s in (0, 1))
    ins = (4, 0) if product_first else (0, 4)
    code = (Instruction("multiply", (2, 1), (4,)), Instruction(op, ins, (5,)))
    b = np.asarray(number, dtype)
    chain = Instruction(CHAIN, (0, 1, 2), (5,), {"code": code})
    return x, y, b, chains.bind(chain, [x, y, b], [y])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("number", [0.9, -3.0, 1.0, 1e-30, 0.0])
@pytest.mark.parametrize(("op", "first"), [("add", 0), ("subtract", 0), ("subtract", 1)])
def test_both_signs_and_every_number(dtype, number, op, first):
    x, y, b, call = bound(dtype, number, op, first)
    y[0], y[1], x[2] = np.nan, np.inf, np.inf
    with np.errstate(invalid="ignore"):
        product, combine = b * y, getattr(np, op)
        wanted = combine(product, x) if first else combine(x, product)
        call()
    np.testing.assert_array_equal(y, wanted)


@needs_axpby
def test_what_another_reads_is_not_written_over():
    """y is read after the sum, or by another name; a product is read twice."""
    f = np.dtype(np.float32)

    def found(*code, outs, over):
        made = [Instruction(op, ins, (n,), {}) for op, ins, n in code]
        taken = Taken(set(outs), set(), over, {0, 1})
        return [i.op for i in with_scaled_sums(made, {0: f, 1: f}, taken)]

    half = Literal(0.5)
    average = (("multiply", (half, 0), 2), ("add", (2, 1), 3))
    assert found(*average, outs=[3], over={3: [0]}) == [SCALED_SUM]
    assert found(*average, outs=[3], over={}) == ["multiply", "add"]
    late = ("subtract", (0, 3), 4)
    assert found(*average, late, outs=[3, 4], over={3: [0]})[:2] == ["multiply", "add"]
    assert found(*average, late, outs=[3, 2, 4], over={4: [0]})[0] == "multiply"
    twice = (*average, ("subtract", (2, 3), 4))
    assert found(*twice, outs=[4], over={4: [0]})[0] == "multiply"
    views = (("multiply", (half, 0), 2), ("add", (2, 1), 3), ("negative", (1,), 4))
    assert found(*views, outs=[3, 4], over={3: [0, 1]}) == ["multiply", "add", "negative"]


def test_a_value_that_a_sum_has_taken_is_no_longer_there():
    code = (
        Instruction("square", (0,), (2,)), Instruction("multiply", (Literal(0.5), 2), (3,)),
        Instruction("add", (2, 1), (4,)), Instruction("add", (3, 4), (5,)),
        Instruction("negative", (5,), (6,)),
    )  # fmt: skip
    x, y = (np.arange(LONG, dtype=np.float32) + k for k in range(2))
    found = np.empty_like(x)
    chains.bind(Instruction(CHAIN, (0, 1), (6,), {"code": code}), [x, y], [found])()
    squares = np.square(x)
    np.testing.assert_array_equal(found, -(np.float32(0.5) * squares + (squares + y)))


def test_what_lies_in_another_order_is_copied_first():
    w = np.arange(130 * 130, dtype=np.float32).reshape(130, 130)
    code = (Instruction("multiply", (Literal(0.5), 0), (2,)), Instruction("add", (2, 1), (3,)))
    wanted = np.float32(0.5) * w.T + 1
    chain = Instruction(CHAIN, (0, 1), (3,), {"code": code})
    chains.bind(chain, [w.T, np.ones_like(w)], [w])()
    np.testing.assert_array_equal(w, wanted)


def test_a_library_that_rounds_once_is_found_out(monkeypatch):
    def fused(size, a, x, one, b, y, other):
        x, y = (np.ctypeslib.as_array((blas.ctypes.c_float * size).from_address(p)) for p in (x, y))
        y[:] = a * x.astype(np.float64) + np.float64(np.float32(b)) * y

    class Library:
        def __init__(self, compute):
            self.compute = compute

        def __call__(self, *arguments):
            self.compute(*arguments)

    def twice(size, a, x, one, b, y, other):
        x, y = (np.ctypeslib.as_array((blas.ctypes.c_float * size).from_address(p)) for p in (x, y))
        y[:] = np.float32(a) * x + np.float32(b) * y

    monkeypatch.setattr(blas, "controllable", lambda: True)
    for compute, taken in ((fused, False), (twice, True)):
        monkeypatch.setattr(blas, "_function", lambda name, f=compute: (Library(f), ""))
        assert (blas.axpby.__wrapped__("f") is not None) == taken


def test_other_dtypes_have_none():
    assert blas.axpby("e") is None
