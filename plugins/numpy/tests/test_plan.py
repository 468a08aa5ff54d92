"""Plans: what they compute is what interpreting the program computes, to the bit."""

import mmap
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import UsageError
from agnostic_dl.extend import (
    CHAIN,
    Instruction,
    Literal,
    Program,
    Value,
    chained,
    optimize,
    rewrite,
)
from agnostic_dl.primitives.program import interpret
from agnostic_dl.testing.kernels import Subject, compare_kernel
from agnostic_dl.testing.programs import update_program
from agnostic_dl_numpy import threads
from agnostic_dl_numpy.plan import Kernel, chains, compile_program
from agnostic_dl_numpy.plan.chains import PIECE
from agnostic_dl_numpy.plan.memory import Need, offsets
from agnostic_dl_numpy.plan.plan import in_order
from agnostic_dl_numpy.plan.pointwise import accepts


@pytest.fixture(autouse=True)
def own_kernels():
    with adl.use_backend("numpy", kernels=()) as backend:
        yield backend


def recorded(model, shape, optimizer=None, batch=16, classes=10, **options):
    step = adl.train_step(model, "cross_entropy", optimizer or adl.optimizer("adam"), **options)
    draw = np.random.default_rng(0)
    x = draw.normal(size=(batch, *shape)).astype(np.float32)
    return adl.program(step, x, draw.integers(0, classes, batch)), step


def values_for(program, seed=0):
    """Random arrays for every input; state that stands for squares is positive."""
    draw, found = np.random.default_rng(seed), {}
    for name, number in program.inputs.items():
        value = program.values[number]
        if name == "y":
            found[name] = draw.integers(0, 3, value.shape).astype(value.dtype)
        elif name == "key":
            found[name] = np.array([seed, 2], np.uint32)
        else:
            array = draw.normal(size=value.shape) * 0.1
            positive = name.endswith((".v", "_var", "size", "root", "rate"))
            found[name] = np.asarray(np.abs(array) + 0.1 if positive else array, value.dtype)
    return found


def run(program, backend, spoiled=False, seeds=(0, 1)):
    """Results and state after runs of a plan, and of the interpreter."""
    plan = compile_program(program, backend)
    outcomes = []
    for seed in seeds:
        arrays = values_for(program, seed)
        plan.load({name: arrays[name] for name in program.state})
        if spoiled:
            plan.spoil()
        rest = {name: a for name, a in arrays.items() if name not in program.state}
        found = plan.run(rest)
        found |= {name: plan.read(to) for name, to in program.donations.items()}
        wanted = interpret(program, arrays, backend.xp)
        outcomes.append((found, wanted))
    return plan, outcomes


NETWORKS = {
    "mlp": (lambda: adl.models.create("mlp", input_shape=(6, 6, 1), classes=10), (6, 6, 1)),
    "lenet": (lambda: adl.models.create("lenet", input_shape=(12, 12, 1), classes=10), (12, 12, 1)),
    "cnn": (
        lambda: adl.models.create("adam-paper-cnn", input_shape=(16, 16, 3), classes=10),
        (16, 16, 3),
    ),
    "resnet": (lambda: adl.models.create("resnet20", input_shape=(8, 8, 3), classes=10), (8, 8, 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("check", [True, False])
def test_a_plan_is_its_program_to_the_bit(name, check, own_kernels):
    model, shape = NETWORKS[name]
    program, _ = recorded(model(), shape, check=check)
    # Memory that is full of NaN before: nothing reads what was not written, or has been reused.
    _, outcomes = run(program, own_kernels, spoiled=True)
    for found, wanted in outcomes:
        for key, array in wanted.items():
            assert np.array_equal(found[key], array), key


def test_values_share_memory(own_kernels):
    model, shape = NETWORKS["resnet"]
    program, _ = recorded(model(), shape)
    plan, _ = run(program, own_kernels)
    total = sum(v.size * 4 for v in program.values.values())
    assert plan.nbytes < total / 3


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20), st.integers(0, 20)), max_size=25))
def test_what_lives_at_one_time_lies_apart(spans):
    needs = {k: Need(size, min(a, b), max(a, b)) for k, (size, a, b) in enumerate(spans)}
    places, total = offsets(needs)
    for k, one in needs.items():
        assert places[k] + one.size <= total
        for j, other in needs.items():
            if j < k and one.first <= other.last and other.first <= one.last:
                assert places[k] + one.size <= places[j] or places[j] + other.size <= places[k], (
                    one,
                    other,
                )


def test_relu_moves_behind_the_pool_and_biases_into_convolutions(own_kernels):
    model, shape = NETWORKS["cnn"]
    program, _ = recorded(model(), shape)
    changed = optimize(rewrite(program, own_kernels.rewrites))
    ops = [i.op for i in changed.code]
    assert ops.count("conv2d_bias") == 3
    assert "conv2d" not in ops
    pools = [at for at, op in enumerate(ops) if op == "max_pool2d"]
    assert [ops[at + 1] for at in pools] == ["relu"] * 3


@pytest.mark.parametrize("kernel", [2, 3])
def test_ties_and_dead_windows_are_shared_out_as_before(kernel, own_kernels):
    """Many equal values, and many windows without a positive one."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 1, bias=False), nn.ReLU(), nn.MaxPool2d(kernel, stride=2), nn.Flatten(),
        nn.Linear(4 * (((9 - kernel) // 2) + 1) ** 2, 3),
    )  # fmt: skip
    program, _ = recorded(model, (9, 9, 1), classes=3)
    arrays = values_for(program)
    arrays["x"] = np.random.default_rng(1).integers(-2, 3, arrays["x"].shape).astype(np.float32)
    plain = interpret(program, arrays, own_kernels.xp)
    moved = interpret(optimize(rewrite(program, own_kernels.rewrites)), arrays, own_kernels.xp)
    for name, array in plain.items():
        assert np.array_equal(moved[name], array), name


def test_a_relu_that_something_else_sees_stays_where_it_is(own_kernels):
    class Seen(nn.Module):
        def __init__(self):
            self.conv, self.fc = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2 * 4 + 2 * 16, 3)

        def forward(self, x):
            out = nn.functional.relu(self.conv(x))
            pooled = nn.functional.max_pool2d(out, 2)
            xp = adl.namespace("numpy")
            flat = [xp.reshape(t, (t.shape[0], -1)) for t in (pooled, out)]
            return self.fc(xp.concat(flat, axis=1))

    program, _ = recorded(Seen(), (4, 4, 1), classes=3)
    code = optimize(rewrite(program, own_kernels.rewrites)).code
    (conv,) = [i for i in code if i.op == "conv2d_bias"]
    (pool,) = [i for i in code if i.op == "max_pool2d"]
    assert conv.static["relu"]
    assert pool.ins == conv.outs


def chain_program(size, ops):
    """a, b → a chain of operations, of which the last two values are outputs; a is donated."""
    values = {0: Value((size,), "float32"), 1: Value((size,), "float32"), 2: Value((), "float32")}
    code, last = [], [0, 1]
    for k, op in enumerate(ops):
        number = 3 + k
        values[number] = Value((size,), "float32")
        operands = {1: (last[-1],), 2: (last[-1], last[-2]), 3: (Literal(0.5), last[-1])}
        arity, name = op
        ins = (last[-1], 2) if arity == 4 else operands[arity]
        code.append(Instruction(name, ins, (number,), {}))
        last.append(number)
    outputs = {"a": last[-1], "other": last[-2]}
    return Program(values, tuple(code), {"a": 0, "b": 1, "c": 2}, outputs, {"a": "a"})


OPS = [(2, "add"), (2, "multiply"), (1, "square"), (1, "negative"), (3, "multiply"), (4, "add"),
       (2, "maximum"), (1, "tanh"), (1, "abs"), (1, "relu"), (2, "relu_grad")]  # fmt: skip


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


def test_where_the_guard_fails_nothing_is_changed(own_kernels):
    model, shape = NETWORKS["resnet"]
    program, _ = recorded(model(), shape, check=True)
    plan = compile_program(program, own_kernels)
    arrays = values_for(program)
    plan.load({name: arrays[name] for name in program.state})
    rest = {name: a for name, a in arrays.items() if name not in program.state}
    rest["x"] = rest["x"].copy()
    rest["x"][0, 0, 0, 0] = np.nan
    with np.errstate(all="ignore"):
        found = plan.run(rest)
    assert not found["finite"]
    assert np.isnan(found["loss"])
    for name in program.state:
        assert np.array_equal(plan.read(name), arrays[name]), name


def test_plans_of_other_batches_share_the_state(own_kernels):
    model, shape = NETWORKS["lenet"]
    large, step = recorded(model(), shape, batch=16)
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(5, *shape)).astype(np.float32), draw.integers(0, 10, 5)
    small = adl.program(step, x, y)
    first = compile_program(large, own_kernels)
    second = compile_program(small, own_kernels, like=first)
    arrays = values_for(large)
    first.load({name: arrays[name] for name in large.state})
    rest = {n: a for n, a in arrays.items() if n not in large.state}
    second.run({**rest, "x": x, "y": y})
    assert not np.array_equal(first.read("flat.0.param"), arrays["flat.0.param"])


def test_results_and_copies_are_the_callers_own(own_kernels):
    program, _ = recorded(NETWORKS["mlp"][0](), (6, 6, 1))
    plan, _ = run(program, own_kernels)
    arrays = values_for(program)
    rest = {n: a for n, a in arrays.items() if n not in program.state}
    kept = plan.run(rest)["outputs"]
    before, copy = kept.copy(), plan.read("flat.0.param")
    plan.run(rest)
    assert np.array_equal(kept, before)
    with pytest.raises(ValueError, match="read-only"):
        copy[0] = 1.0


def test_a_run_allocates_next_to_nothing(own_kernels):
    program, _ = recorded(NETWORKS["lenet"][0](), (12, 12, 1), batch=64)
    plan, _ = run(program, own_kernels)
    arrays = values_for(program)
    rest = {n: a for n, a in arrays.items() if n not in program.state}
    tracemalloc.start()
    try:
        plan.run(rest)
        tracemalloc.reset_peak()
        start = tracemalloc.get_traced_memory()[0]
        plan.run(rest)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    largest = max(v.size * 4 for v in program.values.values())
    assert peak - start < largest / 2


def test_a_profile_names_every_operation_and_changes_nothing(own_kernels):
    program, _ = recorded(NETWORKS["lenet"][0](), (12, 12, 1))
    plan, _ = run(program, own_kernels)
    before = {name: plan.read(name) for name in program.state}
    arrays = values_for(program)
    times = plan.profile({n: a for n, a in arrays.items() if n not in program.state}, rounds=2)
    assert {"conv2d_bias", "max_pool2d_grad", CHAIN} <= {name for name, _ in times}
    assert times == sorted(times, key=lambda pair: -pair[1])
    assert all(np.array_equal(before[name], plan.read(name)) for name in program.state)


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


def test_inputs_that_are_not_the_plans_are_refused_by_name_and_shape(own_kernels):
    plan = compile_program(chain_program(4, OPS[:3]), own_kernels)
    given = {"b": np.ones(4, np.float32), "c": 2.0}
    first = plan.run(given)["other"]
    for inputs, said in (
        ({"b": given["b"]}, "b, c at each run: c missing"),
        ({**given, "d": 1.0}, "d unknown"),
        ({"b": given["b"], "d": 1.0}, "c missing and d unknown"),
        ({**given, "b": np.ones(1, np.float32)}, r"'b' has the shape \(4,\), and got \(1,\)"),
        ({**given, "b": 1.0}, r"'b' has the shape \(4,\), and got \(\)"),
        ({**given, "c": np.ones(1, np.float32)}, r"'c' has the shape \(\), and got \(1,\)"),
    ):
        with pytest.raises(UsageError, match=said):
            plan.run(inputs)
        with pytest.raises(UsageError, match=said):
            plan.profile(inputs, rounds=1)
    assert first.shape == plan.run({**given, "c": np.float32(2.0)})["other"].shape


def test_two_outputs_that_are_computed_alike_are_one_value(own_kernels):
    value = Value((5,), "float32")
    code = (Instruction("exp", (0,), (1,)), Instruction("exp", (0,), (2,)))
    program = Program(dict.fromkeys(range(3), value), code, {"x": 0}, {"one": 1, "other": 2})
    _, outcomes = run(program, own_kernels)
    for found, wanted in outcomes:
        for name, array in wanted.items():
            assert np.array_equal(found[name], array), name


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


def test_a_plan_gives_its_memory_back_and_goes_on(own_kernels):
    model, shape = NETWORKS["lenet"]
    program, _ = recorded(model(), shape, batch=256)
    arrays = values_for(program)
    rest = {name: a for name, a in arrays.items() if name not in program.state}
    outcomes = []
    for pause in (False, True):
        plan = compile_program(program, own_kernels)
        plan.load({name: arrays[name] for name in program.state})
        plan.run(rest)
        if pause:
            before = resident()
            plan.rest()
            if before is not None and hasattr(mmap, "MADV_DONTNEED"):
                assert before - resident() > 0.9 * plan.nbytes
        outcomes.append(plan.run(rest)["loss"])
    assert outcomes[0] == outcomes[1]


def resident():
    """Bytes of this process in memory; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * mmap.PAGESIZE
