"""Plans: what they compute is what interpreting the program computes, to the bit."""

import mmap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_programs import NETWORKS, OPS, chain_program, recorded, run, values_for

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import UsageError
from agnostic_dl.extend import (
    CHAIN,
    optimize,
    rewrite,
)
from agnostic_dl.primitives.program import interpret
from agnostic_dl_numpy.plan import compile_program
from agnostic_dl_numpy.plan.memory import Need, offsets


@pytest.fixture(autouse=True)
def own_kernels():
    with adl.use_backend("numpy", kernels=()) as backend:
        yield backend


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
