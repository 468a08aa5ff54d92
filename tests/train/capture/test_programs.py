"""The program of a step: the same on every library, printed, priced, shrunk and interpreted."""

import numpy as np
import pytest
from captured_steps import batches, network

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import UsageError
from agnostic_dl.primitives.passes import eliminate_common, eliminate_dead, optimize
from agnostic_dl.primitives.program import interpret


def test_a_program_is_of_a_step():
    with pytest.raises(UsageError, match=r"what adl.train_step\(\.\.\.\) returns, got str"):
        adl.program("step", 1, 2)


def program_of(backend="numpy", **options):
    with adl.use_backend(backend) as current:
        model = network(0.4)
        step = adl.train_step(model, "cross_entropy", adl.optimizer("adam"), **options)
        x, y = next(batches(1))
        return adl.program(step, current.asarray(x), current.asarray(y)), step


def test_every_library_records_the_same_program():
    ours, strict = program_of()[0], program_of("strict")[0]
    assert ours.code == strict.code
    assert ours.values == strict.values
    assert (ours.inputs, ours.outputs) == (strict.inputs, strict.outputs)


def test_it_prints_with_what_it_costs():
    program, step = program_of()
    text = str(program)
    assert "conv2d" in text
    assert f"{program.flops:,} FLOPs" in text
    assert f"{program.bytes:,} bytes" in text
    # conv 2·6·144·4·18, its weight gradient as much, linear and its two adjoints 2·6·144·3 each.
    assert program.flops > 2 * 2 * 6 * 144 * 72 + 2 * 2 * 6 * 144 * 3
    assert program.bound(1e9, 1e9) == max(program.flops, program.bytes) / 1e9
    assert step.count == 0


def test_flops_of_products_and_convolutions():
    step = adl.train_step(
        nn.Sequential(nn.Linear(5, 7, bias=False)).init(0), "mse", adl.optimizer("sgd")
    )
    program = adl.program(step, np.ones((3, 5), np.float32), np.ones((3, 7), np.float32))
    products = [i for i in program.code if i.op == "matmul"]
    from agnostic_dl.primitives import cost

    assert [cost.flops(program, i) for i in products] == [2 * 3 * 5 * 7] * 2


def test_interpreting_needs_every_input():
    program, _ = program_of()
    with pytest.raises(UsageError, match="y is missing"):
        interpret(program, {"x": np.ones(3)}, np)


def test_passes_drop_what_is_computed_twice_or_in_vain():
    program, _ = program_of()
    from dataclasses import replace

    first = next(i for i in program.code if i.op == "conv2d")
    number = max(program.values) + 1
    again = replace(first, outs=(number,))
    doubled = replace(
        program, code=(*program.code, again),
        values={**program.values, number: program.values[first.outs[0]]},
        outputs={**program.outputs, "again": number},
    )  # fmt: skip
    shared = eliminate_common(doubled)
    assert len(shared.code) == len(program.code)
    assert shared.outputs["again"] == first.outs[0]
    vain = replace(doubled, outputs=program.outputs)
    assert len(eliminate_dead(vain).code) == len(program.code)
    assert optimize(program).code == program.code
