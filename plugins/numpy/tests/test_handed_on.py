"""State that is handed on from slot to slot, and what is read of it before."""

from dataclasses import replace

import numpy as np
import pytest
from plan_programs import OPS, chain_program, run

import agnostic_dl as adl
from agnostic_dl.extend import (
    Instruction,
    Literal,
    Program,
    Value,
)
from agnostic_dl_numpy.plan.plan import in_order


@pytest.fixture(autouse=True)
def own_kernels():
    with adl.use_backend("numpy", kernels=()) as backend:
        yield backend


def test_an_output_that_is_an_input_is_handed_on(own_kernels):
    program = chain_program(4, OPS[:3])
    passed = replace(program, outputs={**program.outputs, "same": program.inputs["b"]})
    _, outcomes = run(passed, own_kernels)
    for found, wanted in outcomes:
        assert np.array_equal(found["same"], wanted["same"])


def slots_program(donated, results=None):
    """State a, b, c and an input g of one shape; value 4 is g + a, 5 is 3 · 4."""
    value = Value((5,), "float32")
    code = (Instruction("add", (0, 3), (4,)), Instruction("multiply", (4, Literal(3.0)), (5,)))
    outputs = {**donated, **(results or {})}
    inputs = {"a": 0, "b": 1, "c": 2, "g": 3}
    return Program(
        dict.fromkeys(range(6), value), code, inputs, outputs, {name: name for name in donated}
    )


HANDED_ON = {
    "shift register": {"a": 5, "b": 0, "c": 1},
    "the last slot first": {"c": 1, "b": 0, "a": 5},
    "swap": {"a": 1, "b": 0, "c": 5},
    "circle": {"a": 2, "b": 0, "c": 1},
    "one for two": {"a": 5, "b": 0, "c": 0},
    "into a circle": {"a": 1, "b": 0, "c": 0},
    "new for two": {"a": 5, "b": 5, "c": 4},
    "as it was": {"a": 5, "b": 1, "c": 1},
}


@pytest.mark.parametrize("donated", HANDED_ON.values(), ids=HANDED_ON)
@pytest.mark.parametrize("results", [{}, {"old": 0, "older": 1, "new": 5}], ids=["", "seen"])
def test_old_state_is_handed_on_before_it_is_written_over(donated, results, own_kernels):
    program = slots_program(donated, results)
    _, outcomes = run(program, own_kernels, spoiled=True)
    for found, wanted in outcomes:
        for name, array in wanted.items():
            assert np.array_equal(found[name], array), name


def test_slots_in_a_row_are_copied_without_other_memory():
    a, b, c = (np.full(3, k) for k in range(3))
    copies = in_order([(b, a), (c, b)])
    assert [(id(to), id(array)) for to, array in copies] == [(id(c), id(b)), (id(b), id(a))]
    assert len(in_order([(a, b), (b, a), (c, c)])) == 3


def test_packed_pieces_are_not_made_where_old_state_is_still_read(own_kernels):
    """The pieces are there before the pack is: their place must not be the state's."""
    half, whole = Value((2,), "float32"), Value((4,), "float32")
    values = {0: whole, 1: half, 2: half, 3: half, 4: whole, 5: whole}
    code = (
        Instruction("matmul", (6, 1), (2,)), Instruction("matmul", (6, 2), (3,)),
        Instruction("matmul", (7, 0), (5,)), Instruction("pack", (2, 3), (4,)),
    )  # fmt: skip
    values |= {6: Value((2, 2), "float32"), 7: Value((4, 4), "float32")}
    inputs = {"a": 0, "x": 1, "w": 6, "v": 7}
    program = Program(values, code, inputs, {"a": 4, "seen": 5}, {"a": "a"})
    _, outcomes = run(program, own_kernels)
    for found, wanted in outcomes:
        for name, array in wanted.items():
            assert np.array_equal(found[name], array), name


def test_two_outputs_that_are_computed_alike_are_one_value(own_kernels):
    value = Value((5,), "float32")
    code = (Instruction("exp", (0,), (1,)), Instruction("exp", (0,), (2,)))
    program = Program(dict.fromkeys(range(3), value), code, {"x": 0}, {"one": 1, "other": 2})
    _, outcomes = run(program, own_kernels)
    for found, wanted in outcomes:
        for name, array in wanted.items():
            assert np.array_equal(found[name], array), name
