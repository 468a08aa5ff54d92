"""Chains: what they compute is what their operations compute one by one, to the bit."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_programs import NETWORKS, OPS, chain_program, recorded, run

import agnostic_dl as adl
from agnostic_dl.extend import (
    CHAIN,
    Instruction,
    Literal,
    Program,
    Value,
    chained,
)
from agnostic_dl.testing.kernels import Subject, compare_kernel
from agnostic_dl.testing.programs import update_program
from agnostic_dl_numpy import threads
from agnostic_dl_numpy.plan import Kernel, chains, compile_program
from agnostic_dl_numpy.plan.chains import PIECE
from agnostic_dl_numpy.plan.pointwise import accepts


@pytest.fixture(autouse=True)
def own_kernels():
    with adl.use_backend("numpy", kernels=()) as backend:
        yield backend


@pytest.mark.parametrize("size", [7, PIECE + 1])
@settings(max_examples=25, deadline=None)
@given(ops=st.lists(st.sampled_from(OPS), min_size=3, max_size=9))
def test_chains_of_any_operations(ops, size):
    backend = adl.get_backend("numpy")
    program = chain_program(size, ops)
    with np.errstate(all="ignore"):
        _, outcomes = run(program, backend, spoiled=True)
    for found, wanted in outcomes:
        for name, array in wanted.items():
            assert np.array_equal(found[name], array, equal_nan=True)


class ByChains(Kernel):
    """The backend's own way of running a chain, as a kernel that the kit can judge."""

    def bind(self, instruction, operands, outs):
        return chains.bind(instruction, operands, outs)


def test_chains_equal_their_references_also_in_place_and_of_truth_values(own_kernels):
    subject = Subject(own_kernels, {CHAIN: ByChains()})
    assert "declined" not in compare_kernel(subject, CHAIN)


def test_a_number_of_the_state_that_a_chain_updates_is_the_old_one_in_every_piece(monkeypatch):
    monkeypatch.setattr(threads, "thread_count", lambda: 1)  # the pieces one after the other
    w = np.arange(3 * PIECE + 1, dtype=np.float32) + 5.0
    code = (Instruction("multiply", (0, Literal(3.0)), (2,)), Instruction("subtract", (2, 1), (3,)))
    call = chains.bind(
        Instruction(CHAIN, (0, 1), (3,), {"code": code}), [w, w[:1].reshape(())], [w]
    )
    for _ in range(2):
        wanted = w * np.float32(3.0) - w[0]
        call()
        np.testing.assert_array_equal(w, wanted)


@pytest.mark.parametrize("first", [0, 1])
def test_two_names_for_one_memory_are_read_before_it_is_written_over(first):
    """The output takes over what both names stand for, and the other name is read later."""
    w = np.arange(7, dtype=np.float32)
    code = (
        Instruction("multiply", (first, Literal(2.0)), (2,)), Instruction("add", (2, 0), (3,)),
        Instruction("subtract", (1, 3), (4,)),
    )  # fmt: skip
    seen = np.empty_like(w)
    reads = (0, 1) if first == 0 else (1, 0)
    chain = Instruction(CHAIN, reads, (3, 4), {"code": code})
    wanted = w * 2 + w
    chains.bind(chain, [w, w[:]], [w, seen])()
    np.testing.assert_array_equal(w, wanted)
    np.testing.assert_array_equal(seen, wanted / 3 - wanted)


@pytest.mark.parametrize("name", ["adam", "nadam", "radam", "lion", "adadelta"])
def test_an_elementwise_update_is_one_chain(name):
    program = chained(update_program(adl.optimizer(name), 100), accepts)
    long = [i.op for i in program.code if program.values[i.outs[0]].shape != ()]
    assert long == [CHAIN]


def test_what_a_chain_does_not_take():
    f, half, truth, number = (
        Value((4,), "float32"), Value((4,), "float16"), Value((4,), "bool"), Value((4,), "int64")
    )  # fmt: skip
    values = {0: f, 1: half, 2: truth, 3: number, 4: Value((), "float32")}

    def taken(op, *ins, out):
        program = Program({**values, 9: out}, (), {}, {})
        return accepts(program, Instruction(op, ins, (9,)))

    assert taken("greater", 0, Literal(0), out=truth)
    assert taken("where", 2, 0, Literal(0.0), out=f)
    assert taken("clip", 0, Literal(None), 4, out=f)
    assert not taken("add", 2, 2, out=truth)
    assert not taken("greater", 3, 3, out=truth)
    assert not taken("where", 0, 0, 0, out=f)
    assert not taken("where", 2, 3, 3, out=number)
    assert not taken("add", 0, 1, out=f)
    assert not taken("clip", 0, 0, 0, out=f)
    assert not taken("clip", 0, Literal(None), Literal(None), out=f)
    assert not taken("relu_grad", 1, 1, out=half)
    assert not taken("add", 4, 4, out=values[4])


def test_chains_of_two_dtypes_at_once():
    """Parameters of one shape and two dtypes: their updates go side by side."""
    f, d = Value((70000,), "float32"), Value((70000,), "float64")
    values = {0: f, 1: d, 2: f, 3: d, 4: f, 5: d}
    code = (
        Instruction("square", (0,), (2,)), Instruction("square", (1,), (3,)),
        Instruction("subtract", (2, 0), (4,)), Instruction("subtract", (3, Literal(0.1)), (5,)),
    )  # fmt: skip
    outputs = {"a": 4, "b": 5}
    program = Program(values, code, {"a": 0, "b": 1}, outputs, {"a": "a", "b": "b"})
    assert len([i for i in chained(program, accepts).code if i.op == CHAIN]) == 1
    _, outcomes = run(program, adl.get_backend("numpy"), spoiled=True)
    for found, wanted in outcomes:
        for name, array in wanted.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)


def test_an_update_is_one_chain():
    program, _ = recorded(NETWORKS["mlp"][0](), (6, 6, 1))
    (chain,) = [
        i for i in chained(program, accepts).code if i.op == CHAIN and len(i.static["code"]) > 8
    ]
    assert program.values[chain.outs[0]].size == sum(
        np.prod(shape) for shape in program.code[0].static["shapes"]
    )


class Doubling(Kernel):
    """Binds chains that it is asked to double, as another library would fuse them."""

    def __init__(self, takes):
        self.takes, self.bound = takes, 0

    def bind(self, instruction, operands, outs):
        if not self.takes:
            return None
        self.bound += 1
        return partial(np.multiply, operands[0], 2.0, out=outs[0])


@pytest.mark.parametrize("takes", [True, False])
def test_a_kernel_binds_what_it_takes_and_leaves_the_rest(takes, own_kernels):
    value = Value((PIECE,), "float32")
    code = (
        Instruction("multiply", (0, Literal(3.0)), (1,)),
        Instruction("negative", (1,), (2,)),
    )
    program = Program(dict.fromkeys(range(3), value), code, {"x": 0}, {"out": 2})
    kernel = Doubling(takes)
    backend = adl.get_backend()
    kept = backend.kernels
    backend.kernels = {**kept, CHAIN: kernel}
    try:
        plan = compile_program(program, backend)
    finally:
        backend.kernels = kept
    found = plan.run({"x": np.ones(PIECE, np.float32)})["out"]
    assert kernel.bound == takes
    np.testing.assert_array_equal(found, np.full(PIECE, 2.0 if takes else -3.0, np.float32))
