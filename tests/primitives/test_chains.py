"""Chains: convex, complete, and the program's own results to the bit."""

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.primitives import PRIMITIVES, cost
from agnostic_dl.primitives.chains import CHAIN, chained
from agnostic_dl.primitives.program import Instruction, Program, Value, interpret


def elementwise(program, instruction):
    return instruction.op in cost.ELEMENTWISE


def flattened(program):
    """The chains' own instructions again, in the chains' places."""
    code = [j for i in program.code for j in (i.static["code"] if i.op == CHAIN else [i])]
    return Program(
        program.values, tuple(code), program.inputs, program.outputs, program.donations,
        program.constants, program.guard,
    )  # fmt: skip


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adagrad"])
def test_a_step_in_chains_computes_what_it_did(optimizer):
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.BatchNorm2d(5), nn.Linear(5, 3)).init(0)
    engine = adl.optim.Engine(adl.optimizer(optimizer), clip_norm=0.1)
    step = adl.train_step(model, "mse", engine, check=True)
    draw = np.random.default_rng(0)
    x = draw.normal(size=(4, 1, 1, 6)).astype(np.float32)
    program = adl.program(step, x, draw.normal(size=(4, 1, 1, 3)).astype(np.float32))
    found = chained(program, elementwise)
    arrays = {
        name: draw.uniform(0.5, 1, size=program.values[n].shape).astype(program.values[n].dtype)
        for name, n in program.inputs.items()
    }
    xp = adl.get_backend("numpy").xp
    expected, got = interpret(program, arrays, xp), interpret(flattened(found), arrays, xp)
    assert sum(i.op == CHAIN for i in found.code) >= 2
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def test_every_instruction_reads_what_was_made_before_it():
    x = Value((4,), "float32")
    code = (
        Instruction("add", (0, 0), (1,)), Instruction("square", (1,), (2,)),
        Instruction("matmul", (2, 2), (3,)), Instruction("multiply", (2, 3), (4,)),
        Instruction("negative", (4,), (5,)), Instruction("exp", (1,), (6,)),
    )  # fmt: skip
    scalar = Value((), "float32")
    values = {0: x, 1: x, 2: x, 3: scalar, 4: x, 5: x, 6: x}
    program = chained(Program(values, code, {"x": 0}, {"a": 5, "b": 6}), elementwise)
    have = {0}
    for instruction in program.code:
        assert have >= set(instruction.reads), str(program)
        have.update(instruction.outs)
    assert [i.op for i in program.code] == [CHAIN, "matmul", CHAIN]
    assert program.code[0].outs == (1, 2)
    assert program.code[2].outs == (5, 6)


def test_what_does_not_depend_on_a_chain_does_not_part_it():
    x = Value((4,), "float32")
    code = (
        Instruction("add", (0, 0), (1,)), Instruction("matmul", (0, 0), (2,)),
        Instruction("square", (1,), (3,)),
    )  # fmt: skip
    values = {0: x, 1: x, 2: Value((), "float32"), 3: x}
    program = chained(Program(values, code, {"x": 0}, {"a": 3, "b": 2}), elementwise)
    assert [i.op for i in program.code] == ["matmul", CHAIN]


def test_numbers_made_of_numbers_are_computed_in_the_chain():
    x, scalar = Value((4,), "float32"), Value((), "float32")
    code = (
        Instruction("add", (1, 1), (2,)), Instruction("square", (2,), (3,)),
        Instruction("multiply", (0, 3), (4,)), Instruction("exp", (4,), (5,)),
    )  # fmt: skip
    values = {0: x, 1: scalar, 2: scalar, 3: scalar, 4: x, 5: x}
    (chain,) = chained(Program(values, code, {"x": 0, "s": 1}, {"a": 5}), elementwise).code
    assert chain.reads == (1, 0)
    assert [i.op for i in chain.static["code"]] == ["add", "square", "multiply", "exp"]


def test_one_instruction_alone_stays_as_it_is():
    x = Value((4,), "float32")
    code = (Instruction("exp", (0,), (1,)),)
    program = Program({0: x, 1: x}, code, {"x": 0}, {"a": 1})
    assert chained(program, elementwise).code == code
    assert PRIMITIVES["exp"] is not None
