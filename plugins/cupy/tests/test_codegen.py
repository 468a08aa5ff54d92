"""Generated kernels: every elementwise optimizer's compiles for every GPU, and computes right."""

from __future__ import annotations

from dataclasses import replace

import device_compiler
import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.extend import CHAIN, Instruction, Literal, Program, Value, chained
from agnostic_dl.primitives.program import interpret
from agnostic_dl.testing.programs import update_program
from agnostic_dl_cupy import templates
from agnostic_dl_cupy.codegen import ChainKernel, accepts, source_of
from agnostic_dl_cupy.codegen.kernel import geometry
from agnostic_dl_cupy.codegen.literals import literal, rounded
from agnostic_dl_cupy.rehearsal import chains, host

SIZE = 1003  # fours and a rest
VARIANTS = {
    "momentum": {"nesterov": True}, "adam": {"efficient": True},
    "rmsprop": {"centered": True, "momentum": 0.9}, "lion": {"weight_decay": 0.01},
}  # fmt: skip
DTYPES = (
    ("float32", None), ("float64", None), ("float32", "float16"), ("float32", "bfloat16"),
    ("float16", None), ("bfloat16", None),
)  # fmt: skip


def optimizers():
    for name in adl.list_optimizers():
        if adl.optimizer(name).elementwise:
            yield name, adl.optimizer(name)
            if name in VARIANTS:
                yield f"{name}-{'-'.join(VARIANTS[name])}", adl.optimizer(name, **VARIANTS[name])


CASES = [
    pytest.param(optimizer, *dtypes, id=f"{name}-{'-'.join(filter(None, dtypes))}")
    for name, optimizer in optimizers()
    for dtypes in DTYPES
]
needs_host = pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))


def recorded(optimizer, dtype, grad):
    """The update; NumPy has no bfloat16, so that float16's is renamed where it is asked for."""
    as_numpy = ["float16" if d == "bfloat16" else d for d in (dtype, grad)]
    with adl.use_backend("numpy"):
        program = update_program(optimizer, SIZE, *as_numpy)
    if "bfloat16" in (dtype, grad):
        values = {
            n: replace(v, dtype="bfloat16") if v.dtype == "float16" else v
            for n, v in program.values.items()
        }
        code = tuple(
            replace(i, static={**i.static, "dtype": "bfloat16"})
            if i.static.get("dtype") == "float16" else i
            for i in program.code
        )  # fmt: skip
        program = replace(program, values=values, code=code)
    return program


def chain_of(program):
    found = chained(program, accepts)
    assert [i.op for i in found.code] == [CHAIN], str(found)
    return found.code[0]


@pytest.mark.parametrize(("optimizer", "dtype", "grad"), CASES)
def test_it_compiles_for_every_architecture_and_spills_nothing(
    optimizer, dtype, grad, record_property
):
    device_compiler.require()
    program = recorded(optimizer, dtype, grad)
    source = source_of(chain_of(program), program.values)
    for architecture in device_compiler.ARCHITECTURES:
        made = device_compiler.compiled(source.text, architecture, templates.OPTIONS)
        assert list(made.kernels) == [source.name]
        if dtype == "float32":
            assert "ld.global.v4" in made.ptx
            assert "st.global.v4" in made.ptx
        assert "fma." not in made.ptx
        assert made.kernels[source.name].spilled == 0
    record_property("generated kernels compiled", len(device_compiler.ARCHITECTURES))


def arrays_for(program, seed=0):
    """Random inputs; what an optimizer divides by or takes the root of is positive."""
    draw = np.random.default_rng(seed)
    found = {}
    for name, number in program.inputs.items():
        value = program.values[number]
        array = draw.normal(size=value.shape)
        array = array if name in ("param", "grad", "m", "velocity") else np.abs(array) / 4
        found[name] = np.asarray(array, dtype=value.dtype)
    if "mean" in found:  # a centered variance is not negative
        found["v"] = found["v"] + found["v"].dtype.type(1)
    return found


@needs_host
@pytest.mark.parametrize(
    ("optimizer", "dtype", "grad"), [c for c in CASES if "bfloat16" not in c.values]
)
def test_on_the_cpu_it_is_numpy_to_the_bit(optimizer, dtype, grad):
    program = recorded(optimizer, dtype, grad)
    arrays = arrays_for(program)
    with adl.use_backend("numpy"):
        expected = interpret(program, arrays, adl.get_backend("numpy").xp)
    chain = chain_of(program)
    run = chains.compiled(source_of(chain, program.values))
    names = {number: name for name, number in program.inputs.items()}
    held = {n: arrays[name].copy() for n, name in names.items()} | dict(program.constants)
    for fours in (SIZE // 4, 0):
        outs = [_empty(program.values[n]) for n in chain.outs]
        run(SIZE, fours, [held[n] for n in chain.reads], outs)
        _compare(program, chain, outs, expected)
    ins = [held[n] for n in chain.reads]  # at last over the inputs, as a plan runs it
    places = {program.outputs[to]: held[program.inputs[name]]
              for to, name in program.donations.items()}  # fmt: skip
    outs = [places.get(n) for n in chain.outs]
    run(SIZE, SIZE // 4, ins, outs)
    _compare(program, chain, outs, expected)


def _empty(value):
    return np.full(value.shape, 7, dtype=value.dtype)


def _compare(program, chain, outs, expected):
    for number, out in zip(chain.outs, outs, strict=True):
        for name, n in program.outputs.items():
            if n == number:
                np.testing.assert_array_equal(out, expected[name], err_msg=name)


def in_float32(chain, values, held):
    """The chain by the primitives on float32, and bfloat16's numbers rounded by ml_dtypes."""
    import ml_dtypes

    def short(number, array):
        short = values[number].dtype == "bfloat16"
        return array.astype(ml_dtypes.bfloat16).astype(np.float32) if short else array

    held = {n: np.asarray(a, np.float32) for n, a in held.items()}
    for i in chain.static["code"]:
        (made,) = i.outs
        operands = [
            short(made, np.float32(o.value)) if isinstance(o, Literal) and o.value is not None
            else o.value if isinstance(o, Literal) else held[o] for o in i.ins
        ]  # fmt: skip
        static = {**i.static, "dtype": np.dtype("float32")} if "dtype" in i.static else i.static
        held[made] = short(made, np.asarray(adl.extend.PRIMITIVES[i.op].run(operands, static)))
    return held


@needs_host
@pytest.mark.parametrize(
    ("optimizer", "dtype", "grad"), [c for c in CASES if "bfloat16" in c.values]
)
def test_in_bfloat16_each_operation_is_float32s_rounded_once(optimizer, dtype, grad):
    """The oracle: float32's operations by NumPy, each result rounded by ml_dtypes."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is absent: no bfloat16 here")
    program = recorded(optimizer, dtype, grad)
    chain = chain_of(program)
    kinds = {n: ml_dtypes.bfloat16 if v.dtype == "bfloat16" else v.dtype
             for n, v in program.values.items()}  # fmt: skip
    like = arrays_for(recorded(optimizer, "float32", None))
    held = {n: like[name].astype(kinds[n]) for name, n in program.inputs.items()}
    held |= {n: np.asarray(a).astype(kinds[n]) for n, a in program.constants.items()}
    with adl.use_backend("numpy"), np.errstate(all="ignore"):
        expected = in_float32(chain, program.values, held)
    run = chains.compiled(source_of(chain, program.values))
    for fours in (SIZE // 4, 0):
        outs = [np.full(program.values[n].shape, 7, dtype=kinds[n]) for n in chain.outs]
        run(SIZE, fours, [np.ascontiguousarray(held[n]) for n in chain.reads], outs)
        for number, out in zip(chain.outs, outs, strict=True):
            np.testing.assert_array_equal(out.astype(np.float32), expected[number])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_literals_are_what_numpy_makes_of_the_number(dtype):
    for value in (0.1, 1 - 0.9, 1e-8, 65519.0, 65520.0, 1e300, -0.0, 3, True, 5e-8, 1e-45):
        with np.errstate(over="ignore"):
            expected = float(np.asarray(value).astype(dtype))
        assert rounded(float(value), dtype) == expected
    assert literal(0.1, "float32") == "0x1.99999a0000000p-4f"
    assert literal(-1.5, "float64") == "(-0x1.8000000000000p+0)"
    assert literal(float("-inf"), "float32") == "-op_infinity<float>()"


def test_bfloat16_literals_are_rounded_to_nearest_even():
    assert rounded(1.00390625, "bfloat16") == 1.0
    assert rounded(1.01171875, "bfloat16") == 1.015625


def test_what_it_cannot_compute_alike_is_left_to_the_primitives():
    values = {0: Value((4,), "float32"), 1: Value((4,), "int64"), 2: Value((4,), "float16")}
    program = Program(values, (), {}, {})
    assert not accepts(program, Instruction("floor_divide", (0, 0), (0,)))
    assert not accepts(program, Instruction("add", (1, 1), (1,)))
    assert not accepts(program, Instruction("sigmoid", (2,), (2,)))
    assert not accepts(program, Instruction("add", (0, Literal(1j)), (0,)))


def test_equal_chains_share_a_kernel_whatever_their_length_and_numbers():
    short = update_program(adl.optimizer("adam"), 8)
    long = update_program(adl.optimizer("adam"), 80)
    other = update_program(adl.optimizer("adam", beta1=0.8), 8)
    sources = [source_of(chain_of(p), p.values) for p in (short, long, other)]
    assert sources[0] == sources[1]
    assert sources[0].name != sources[2].name


class _Memory:
    def __init__(self, ptr):
        self.data = self
        self.ptr = ptr


def test_addresses_that_are_not_aligned_are_read_one_by_one():
    program = update_program(adl.optimizer("sgd"), 10)
    kernel = ChainKernel(chain_of(program), program.values)
    scalar = list(kernel.source.uniform).index(True)
    ins = [_Memory(64 if k != scalar else 4) for k in range(len(kernel.source.uniform))]
    assert kernel.arguments(ins, [_Memory(128)])[:2] == (10, 2)
    assert kernel.arguments(ins, [_Memory(132)])[:2] == (10, 0)


def test_a_launch_covers_all_elements_and_no_more_blocks_than_keep_a_device_busy():
    assert geometry(1, 132) == (1, 256)
    assert geometry(4 * 256 + 1, 132) == (2, 256)
    assert geometry(10**9, 132) == (132 * 8, 256)
