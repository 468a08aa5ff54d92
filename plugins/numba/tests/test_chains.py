"""Chains as compiled loops: against NumPy's own, for every optimizer, and against PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agnostic_dl as adl
from agnostic_dl.extend import CHAIN, Instruction, Literal, chained
from agnostic_dl.testing.programs import update_program
from agnostic_dl_numpy import threads
from agnostic_dl_numpy.plan import chains
from agnostic_dl_numpy.plan.pointwise import accepts

EVERY = ("sgd", "momentum", "adagrad", "adam", "adamw", "rmsprop", "adadelta", "nadam", "radam",
         "lion")  # fmt: skip


def plan_of(program, kernels):
    with adl.use_backend("numpy", kernels=kernels) as backend:
        return backend.compile(program)


def arrays_for(program, draw):
    """State that stands for squares is positive, and so are the step's numbers."""
    return {
        name: np.abs(draw.normal(size=value.shape)).astype(value.dtype) + 0.01
        for name, value in ((n, program.values[k]) for n, k in program.inputs.items())
    }


def walk(program, kernels, steps=5):
    plan, draw = plan_of(program, kernels), np.random.default_rng(0)
    arrays = arrays_for(program, draw)
    plan.load({name: arrays[name] for name in program.state})
    rest = {n: a for n, a in arrays.items() if n not in program.state}
    for _ in range(steps):
        gradient = draw.normal(size=arrays["grad"].shape).astype(arrays["grad"].dtype)
        plan.run({**rest, "grad": gradient})
    return {name: plan.read(name) for name in program.state}


@pytest.fixture
def bound(monkeypatch):
    """What the kernel answered when it was asked to bind a chain."""
    from agnostic_dl_numba.chain import ChainKernel

    answers, bind = [], ChainKernel.bind

    def noted(*arguments):
        answers.append(bind(*arguments))
        return answers[-1]

    monkeypatch.setattr(ChainKernel, "bind", noted)
    return answers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [131, 300_001])
@pytest.mark.parametrize("name", EVERY)
def test_every_optimizer_gives_numpys_bits(name, size, dtype, numba_kernels, bound):
    """No sum is contracted into a product, and no optimizer has a chain with exponentials."""
    program = update_program(adl.optimizer(name), size, dtype)
    wanted, found = (walk(program, kernels) for kernels in ((), numba_kernels))
    assert len(bound) == 1
    assert bound[0] is not None
    for slot, array in wanted.items():
        assert np.array_equal(found[slot], array), slot


@pytest.mark.parametrize("name", EVERY)
def test_every_optimizer_trains_a_captured_step_as_without(name, numba_kernels, bound):
    draw, losses = np.random.default_rng(0), []
    x, y = draw.normal(size=(32, 6, 6, 1)).astype(np.float32), draw.integers(0, 10, 32)
    for kernels in ((), numba_kernels):
        with adl.use_backend("numpy", kernels=kernels):
            model = adl.models.create("mlp", input_shape=(6, 6, 1), classes=10, dropout=0.5)
            step = adl.train_step(model, "cross_entropy", adl.optimizer(name))
            losses.append([float(step(x, y)) for _ in range(6)])
            assert step.captured
    assert losses[0] == losses[1]
    assert any(call is not None for call in bound)


def test_adam_is_pytorchs(numba_kernels):
    torch = pytest.importorskip("torch", reason="PyTorch, the oracle, is not installed")
    size, draw = 100_000, np.random.default_rng(0)
    start = draw.normal(size=size).astype(np.float32)
    gradients = draw.normal(size=(5, size)).astype(np.float32)
    theirs = torch.tensor(start.copy(), requires_grad=True)
    oracle = torch.optim.Adam([theirs], lr=0.01)
    optimizer = adl.optimizer("adam", learning_rate=0.01)
    program = update_program(optimizer, size)
    plan = plan_of(program, numba_kernels)
    zeros = np.zeros(size, np.float32)
    plan.load({"param": start, "m": zeros, "v": zeros})
    for t, gradient in enumerate(gradients, start=1):
        theirs.grad = torch.tensor(gradient)
        oracle.step()
        numbers = optimizer.scalars(0.01, t)
        plan.run({"grad": gradient, **{f"scalar.{n}": v for n, v in numbers.items()}})
    ours = plan.read("param")
    assert np.abs(ours - theirs.detach().numpy()).max() <= 1e-6


# -- any chain -------------------------------------------------------------------------------------

UNARY = ("negative", "abs", "square", "sqrt", "reciprocal", "sign", "floor", "ceil", "trunc",
         "relu")  # fmt: skip
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "relu_grad")
COMPARE = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, 1.0, -1.5, 3e38)


@st.composite
def exact_chains(draw):
    """Chains of exact operations: values 0 and 1 are arrays, 2 is 0-d."""
    code, number = [], 3
    floats = [0, 1, 2]
    for _ in range(draw(st.integers(2, 8))):
        op = draw(st.sampled_from((*UNARY, *BINARY, *COMPARE)))
        pick = st.sampled_from(floats)
        ins = [draw(pick), *([] if op in UNARY else [draw(st.one_of(
            pick, st.sampled_from([Literal(2), Literal(0.1), Literal(-1.5)])))])]  # fmt: skip
        if op == "relu_grad":
            ins[1] = draw(pick)
        code.append(Instruction(op, tuple(ins), (number,)))
        if op in COMPARE:
            number += 1
            code.append(Instruction("where", (number - 1, draw(pick), draw(pick)), (number,)))
        floats.append(number)
        number += 1
    code.append(Instruction("add", (floats[-1], draw(st.sampled_from([0, 1]))), (number,)))
    outs = sorted({number, draw(st.sampled_from([i.outs[0] for i in code]))})
    return code, outs


@settings(max_examples=40, deadline=None)
@given(chain=exact_chains(), dtype=st.sampled_from(["float32", "float64"]), data=st.data())
def test_exact_chains_are_numpys_to_the_bit(chain, dtype, data, kernel):
    """NaN is where NaN is; everything else has the same bits, the signs of zeros too."""
    code, outs = chain
    inputs = [
        np.array(data.draw(st.lists(st.sampled_from(SPECIAL), min_size=5, max_size=5)), dtype),
        np.array(data.draw(st.lists(st.floats(-3, 3, width=32), min_size=5, max_size=5)), dtype),
        np.array(data.draw(st.sampled_from(SPECIAL)), dtype),
    ]
    made = {i.outs[0]: i for i in code}
    full = [n for n in outs if _is_full(n, made)]
    if not full:
        return
    instruction = Instruction(CHAIN, (0, 1, 2), tuple(full), {"code": tuple(code)})
    kinds = ["bool" if made[n].op in COMPARE else dtype for n in full]
    results = []
    with np.errstate(all="ignore"):
        for bind in (chains.bind, kernel.bind):
            ours, places = [a.copy() for a in inputs], [np.empty(5, kind) for kind in kinds]
            if kinds[-1] == dtype and data.draw(st.booleans(), label="in place"):
                places[-1] = ours[1]
            call = bind(instruction, ours, places)
            assert call is not None
            call()
            results.append(places)
    for wanted, found in zip(*results, strict=True):
        nan = np.isnan(wanted)
        assert np.array_equal(np.isnan(found), nan)
        assert found[~nan].tobytes() == wanted[~nan].tobytes()


def _is_full(number, made):
    if number < 3:
        return number < 2
    return any(_is_full(n, made) for n in made[number].reads)


def one(op, *ins):
    """A chain of one operation on an array, and a sum so that it is one."""
    code = (Instruction(op, ins, (8,)), Instruction("add", (8, 0), (9,)))
    reads = sorted({0, *(i for i in ins if isinstance(i, int))})
    return Instruction(CHAIN, tuple(reads), (9,), {"code": code})


ONCE = ("exp", "expm1", "log", "log1p", "sin", "cos", "tanh")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ONCE)
def test_what_is_computed_once_is_right_to_four_last_places(op, dtype, kernel):
    for number in np.linspace(0.05, 3.0, 40).astype(dtype):
        arrays, out = [np.zeros(3, dtype), np.array(number)], np.empty(3, dtype)
        kernel.bind(one(op, 1), arrays, [out])()
        wanted = getattr(np, op)(number.astype(np.longdouble))
        assert abs(out[1] - wanted) <= 4 * np.spacing(np.abs(out[1]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponent", [2, 0.5])
def test_powers_that_are_a_product_or_a_root(exponent, dtype, kernel):
    x = np.array([0.0, -0.0, 1.5, 3e-5, 1e10, np.inf, np.nan], dtype)
    out = np.empty_like(x)
    kernel.bind(one("pow", 0, Literal(exponent)), [x], [out])()
    wanted = np.power(x, exponent) + x
    both = np.isfinite(wanted)
    assert np.array_equal(np.isnan(out), np.isnan(wanted))
    assert np.array_equal(out[np.isinf(wanted)], wanted[np.isinf(wanted)])
    assert (np.abs(out[both] - wanted[both]) <= np.spacing(np.abs(wanted[both]))).all()


@pytest.mark.parametrize("op", [*ONCE, "pow"])
def test_what_numpy_computes_faster_is_left_to_it(op, kernel):
    x = np.ones(4, np.float32)
    chain = one(op, 0, Literal(3.0)) if op == "pow" else one(op, 0)
    assert kernel.bind(chain, [x], [x.copy()]) is None


def test_what_it_does_not_take(kernel):
    x, chain = np.ones((2, 2), np.float32), one("square", 0)
    assert kernel.bind(chain, [x], [x.copy()]) is not None
    assert kernel.bind(chain, [x], [np.ones((2, 2))]) is None
    assert kernel.bind(chain, [np.ones((2, 1), np.float32)], [x]) is None
    assert kernel.bind(chain, [x], [np.ones((2, 2), np.float32).T[::-1]]) is None
    assert kernel.bind(chain, [x.astype(np.float16)], [x.astype(np.float16)]) is None
    assert kernel.bind(chain, [x.astype(">f4")], [x.astype(">f4")]) is None
    assert kernel.bind(chain, [np.float32(1.0)], [x]) is None
    assert kernel.bind(one("erf", 0), [x], [x.copy()]) is None
    assert kernel.bind(one("add", 0, Literal(1j)), [x], [x.copy()]) is None


def test_numbers_in_float32_stay_there(kernel):
    """0.1 is float32's, and an infinite or enormous number is one, too."""
    x, out = np.full(4, 3.0, np.float32), np.empty(4, np.float32)
    for number in (0.1, 10**40, float("inf"), float("-inf"), float("nan"), True):
        with np.errstate(all="ignore"):
            kernel.bind(one("multiply", 0, Literal(number)), [x], [out])()
            wanted = x * np.float32(number) + x
        assert np.array_equal(out, wanted, equal_nan=True)


def test_the_loops_are_vectorised(kernel):
    """Also with more arrays in it than a compiler compares by itself, and with choices."""
    from agnostic_dl_numba.compiled import compiled
    from agnostic_dl_numba.source import ChainSource

    for name in ("adam", "adadelta", "radam", "lion"):
        with adl.use_backend("numpy", kernels=()):
            program = update_program(adl.optimizer(name), 64)
        (chain,) = [i for i in chained(program, accepts).code if i.op == CHAIN]
        values = [program.values[n] for n in (*chain.reads, *chain.outs)]
        kinds = [value.dtype for value in values]
        scalars = frozenset(k for k, value in enumerate(values) if value.shape == ())
        text = ChainSource(chain, range(len(values)), kinds, scalars, "float32").text
        arguments = [f"{kind}*".replace("bool", "uint8") for kind in kinds]
        made = compiled(text, (*arguments, "intp", "intp")).made
        assert "x float>" in made.inspect_llvm(), name


def test_a_number_of_the_state_that_a_chain_updates_is_the_old_one_in_every_piece(
    monkeypatch, numba_kernels
):
    monkeypatch.setattr(threads, "thread_count", lambda: 1)  # the pieces one after the other
    from agnostic_dl_numba.chain import CHAINS, PIECE

    w = np.arange(3 * PIECE + 1, dtype=np.float32) + 5.0
    code = (Instruction("multiply", (0, Literal(3.0)), (2,)), Instruction("subtract", (2, 1), (3,)))
    chain = Instruction(CHAIN, (0, 1), (3,), {"code": code})
    call = CHAINS.bind(chain, [w, w[:1].reshape(())], [w])
    for _ in range(2):
        wanted = w * np.float32(3.0) - w[0]
        call()
        np.testing.assert_array_equal(w, wanted)
