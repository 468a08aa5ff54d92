"""The captured step: the eager one to the bit, whatever happens in between."""

import copy
import gc
import sys
import warnings
import weakref

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import CaptureWarning, NonFiniteError, UsageError
from agnostic_dl.optim import Engine
from agnostic_dl.primitives import PRIMITIVES as P
from agnostic_dl.primitives.dtypes import dtype_named
from agnostic_dl.primitives.passes import eliminate_common, eliminate_dead, optimize
from agnostic_dl.primitives.program import interpret

SHAPE = (12, 12, 2)


@pytest.fixture(autouse=True)
def own_kernels():
    """Other plugins' kernels may add up in another order in a fused operation."""
    with adl.use_backend("numpy", kernels=()):
        yield


def network(dropout=0.0):
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(dropout), nn.Linear(144, 3),
    ).init(0)  # fmt: skip


def batches(count, sizes=(6,)):
    draw = np.random.default_rng(0)
    for i in range(count):
        n = sizes[i % len(sizes)]
        yield draw.normal(size=(n, *SHAPE)).astype(np.float32), draw.integers(0, 3, n)


def trained(optimizer, capture, *, count=6, sizes=(6, 4), between=None, check=True, dropout=0.4):
    step = adl.train_step(
        network(dropout), "cross_entropy", optimizer, check=check, capture=capture
    )
    losses = []
    for i, (x, y) in enumerate(batches(count, sizes)):
        losses.append(float(step(x, y)))
        if between is not None:
            between(i, step)
    return step, losses


def same(one, other):
    a, b = one.model.state_dict(), other.model.state_dict()
    slots = one.state["slots"], other.state["slots"]
    return all(np.array_equal(a[n], b[n]) for n in a) and all(
        np.array_equal(kept[s], slots[1][n][s]) for n, kept in slots[0].items() for s in kept
    )


ENGINES = {
    "adam": lambda: adl.optimizer("adam"),
    "clipped": lambda: Engine(adl.optimizer("momentum"), clip_norm=0.5),
    "overrides": lambda: Engine(
        adl.optimizer("adam"), overrides={"1.*": adl.optimizer("sgd"), "0.weight": None}
    ),
    "schedule": lambda: adl.optimizer("sgd", learning_rate=adl.schedules.cosine(0.1, steps=6)),
    "lamb": lambda: adl.optimizer("lamb"),
    "muon": lambda: adl.optimizer("muon"),
    "nadam": lambda: adl.optimizer("nadam"),
}


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("check", [True, False])
def test_it_is_the_eager_step_to_the_bit(name, check):
    if name in ("lamb", "muon", "nadam") and name not in adl.list_optimizers():
        pytest.skip(f"the optimizer {name} is not installed")
    eager, losses = trained(ENGINES[name](), False, check=check)
    captured, found = trained(ENGINES[name](), True, check=check)
    assert captured.captured
    assert not eager.captured
    if name == "muon":
        # Eager results of transposed arrays are laid out as these are, a plan's always row by row:
        # what is then added up along them may differ in the last place.
        np.testing.assert_allclose(found, losses, rtol=1e-6)
        ours = captured.model.state_dict()
        for key, array in eager.model.state_dict().items():
            np.testing.assert_allclose(ours[key], array, rtol=1e-5, atol=1e-6)
        return
    assert found == losses
    assert same(eager, captured)


def in_the_targets_dtype(outputs, targets):
    return P["mean"](P["multiply"](P["astype"](outputs, dtype=targets.dtype), targets))


def dropping():
    return nn.Sequential(nn.Linear(4, 30), nn.Dropout(0.3), nn.Linear(30, 3)).init(0)


@pytest.mark.parametrize("with_ml_dtypes", [True, False])
@pytest.mark.parametrize(("dtype", "loss"), [
    ("float64", "mse"), ("float64", in_the_targets_dtype), ("float32", in_the_targets_dtype),
])  # fmt: skip
def test_float64_stays_float64(dtype, loss, with_ml_dtypes, monkeypatch):
    """Dropout's mask and `astype` are told a dtype, which a program keeps by its name."""
    if with_ml_dtypes:
        pytest.importorskip("ml_dtypes", reason="ml_dtypes is absent")
    else:
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
        monkeypatch.delitem(adl.get_backend("numpy").dtypes, "bfloat16", raising=False)
        dtype_named.cache_clear()
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(16, 4)).astype(dtype), draw.normal(size=(16, 3))
    steps = [
        adl.train_step(dropping().astype(dtype), loss, adl.optimizer("sgd"), capture=capture)
        for capture in (False, True)
    ]
    losses = [[step(x, y) for _ in range(3)] for step in steps]
    assert steps[1].captured
    assert losses[0] == losses[1]
    assert {np.dtype(a.dtype) for found in losses for a in found} == {np.dtype("float64")}
    assert same(*steps)
    assert steps[1].model[0].weight.data.dtype == dtype


def test_what_is_read_and_assigned_in_between_counts():
    def between(i, step):
        if i == 1:
            step.model.load_state_dict(network().init(7).state_dict())
        if i == 3:
            step.state = {**step.state, "step": 10}
        if i == 4:
            name = next(iter(step.model.parameters()))
            step.model.parameters()[name].data = np.ones((3, 3, 2, 4), np.float32)
        assert step.model.state_dict()

    eager, losses = trained(adl.optimizer("adam"), False, count=8, between=between)
    captured, found = trained(adl.optimizer("adam"), True, count=8, between=between)
    assert found == losses
    assert same(eager, captured)


def test_a_frozen_parameter_stays_as_it_is():
    def between(i, step):
        if i == 2:
            step.model.parameters()["0.weight"].requires_grad = False

    eager, losses = trained(adl.optimizer("adam"), False, between=between)
    captured, found = trained(adl.optimizer("adam"), True, between=between)
    assert found == losses
    assert same(eager, captured)


def test_values_that_were_read_are_not_changed_by_later_steps():
    step, _ = trained(adl.optimizer("adam"), True)
    before = step.model.parameters()["0.weight"].data
    kept = np.array(before)
    step(*next(batches(1)))
    assert np.array_equal(before, kept)
    assert not np.array_equal(step.model.parameters()["0.weight"].data, kept)


def test_a_model_in_training_can_be_copied():
    step, _ = trained(adl.optimizer("adam"), True)
    other = copy.deepcopy(step.model)
    x, y = next(batches(1))
    step(x, y)
    assert not np.array_equal(other.state_dict()["0.weight"], step.model.state_dict()["0.weight"])


def test_it_trains_in_train_mode_as_the_eager_step_does():
    step, _ = trained(adl.optimizer("adam"), True)
    step.model.eval()
    step(*next(batches(1)))
    assert step.captured
    assert step.model.training


def test_a_recording_keeps_none_of_the_steps_arrays():
    """What the first steps computed may go: a plan has memory of its own."""
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(288, 3)

        def forward(self, x):
            out = self.fc(adl.namespace("numpy").reshape(adl.Tensor(x), (x.shape[0], -1)))
            seen.append(weakref.ref(out._value))
            return out

    step = adl.train_step(Watched().init(0), "cross_entropy", adl.optimizer("adam"))
    for x, y in batches(3):
        step(x, y)
    gc.collect()
    assert len(seen) == 2
    assert [ref() for ref in seen] == [None, None]


def test_a_model_without_parameters_is_told_so():
    with pytest.raises(UsageError, match="no parameters"):
        adl.train_step(nn.Sequential(nn.ReLU()), "mse", adl.optimizer("sgd"))


def test_bad_numbers_stop_it_before_anything_changes():
    step, _ = trained(adl.optimizer("adam"), True)
    before, count = step.model.state_dict(), step.count
    x, y = next(batches(1))
    x[2] = np.nan
    with pytest.raises(NonFiniteError, match="example 2 of the batch"):
        step(x, y)
    assert step.count == count
    assert all(np.array_equal(before[n], a) for n, a in step.model.state_dict().items())


def test_a_finite_gradient_whose_square_is_not_trains_on():
    losses = []
    for capture in (False, True):
        model = nn.Sequential(nn.Linear(64, 64)).init(0)
        step = adl.train_step(
            model, lambda out, y: adl.losses.mse(out, y) * 1e22,
            adl.optimizer("sgd", learning_rate=1e-24), check=True, capture=capture,
        )  # fmt: skip
        x = np.ones((4, 64), np.float32)
        with np.errstate(over="ignore"):
            losses.append([float(step(x, np.zeros((4, 64), np.float32))) for _ in range(4)])
    assert losses[0] == losses[1]


class Branching(nn.Module):
    def __init__(self, how):
        self.how, self.calls = how, 0
        self.fc = nn.Linear(144 * 2, 3)

    def forward(self, x):
        self.calls += 1
        out = self.fc(adl.namespace("numpy").reshape(adl.Tensor(x), (x.shape[0], -1)))
        return self.how(self, out)


@adl.primitive
def doubled(xp, x):
    return xp.add(x, x)


doubled.defvjp(lambda xp, g, out, x: xp.add(g, g))

ESCAPES = {
    "a branch": (lambda m, out: out * 2 if out[0, 0] > 0 else out, "data of a Tensor was read"),
    "a number": (lambda m, out: out * float(out[0, 0]), "data of a Tensor was read"),
    "a counter": (lambda m, out: out * m.calls, "operation"),
    "another branch": (lambda m, out: out if m.calls % 2 else out + 1.0, "operations"),
    "an array of its own": (
        lambda m, out: out * np.float32(m.calls) * adl.Tensor(np.full(3, m.calls, np.float32)),
        "no primitive made",
    ),
    "an operation of one's own": (lambda m, out: doubled(out), "primitive 'doubled' is not"),
}


@pytest.mark.parametrize("name", ESCAPES)
def test_what_a_program_cannot_follow_runs_eagerly_and_says_so_once(name):
    how, reason = ESCAPES[name]
    step = adl.train_step(Branching(how).init(0), "cross_entropy", adl.optimizer("sgd"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for x, y in batches(4):
            step(x, y)
    (warning,) = [w for w in caught if w.category is CaptureWarning]
    assert reason in str(warning.message)
    assert not step.captured
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(*next(batches(1)))


def test_one_array_may_be_input_and_target():
    step = adl.train_step(nn.Sequential(nn.Linear(3, 3)), "mse", adl.optimizer("sgd"))
    x, z = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    losses = [float(step(x, x)), float(step(x, x)), float(step(x, z))]
    assert losses[2] != pytest.approx(losses[1], rel=1e-3)


def test_schedules_that_watch_an_epoch_do_not_end_the_capture():
    step, _ = trained(adl.optimizer("adam"), True)
    plan = step._capture._owner.plan
    step.state = step.engine.observe(step.state, {"loss": 1.0})
    step(*next(batches(1)))
    assert step.captured
    assert step._capture._owner.plan is plan
    slots = {n: dict(kept) for n, kept in step.state["slots"].items()}
    step.state = {**step.state, "slots": slots}  # somebody's own: they are loaded anew
    assert not step.captured


def test_a_program_is_of_a_step():
    with pytest.raises(UsageError, match=r"what adl.train_step\(\.\.\.\) returns, got str"):
        adl.program("step", 1, 2)


# -- programs -------------------------------------------------------------------------------------


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


def test_a_step_that_cannot_be_written_says_why():
    step = adl.train_step(
        Branching(ESCAPES["a number"][0]).init(0), "cross_entropy", adl.optimizer("sgd")
    )
    with pytest.raises(UsageError, match="data of a Tensor was read"):
        adl.program(step, *next(batches(1)))


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


def test_every_plan_gives_its_memory_back_before_another_size_is_recorded(monkeypatch):
    plans, rested, backend = [], [], adl.get_backend()
    compiled = backend.compile

    def noted(program, like=None):
        plan = compiled(program, like=like)
        number = len(plans)
        plans.append(plan)
        monkeypatch.setattr(plan, "rest", lambda: rested.append(number))
        return plan

    monkeypatch.setattr(backend, "compile", noted)
    trained(adl.optimizer("sgd"), True, count=3, sizes=(6, 4, 2))
    assert rested == [0, 0, 1]
