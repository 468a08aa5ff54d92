"""Rewrites: where patterns stand, what must not be touched, and that rules keep the result."""

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import UsageError
from agnostic_dl.extend import Instruction, Literal, Program, Value, fusion, optimize, rewrite, rule
from agnostic_dl.primitives.program import interpret

X = Value((4,), "float32")


def straight(*code, outputs, count=9):
    """A program over arrays of one shape, whose input is the value 0."""
    values = dict.fromkeys(range(count), X)
    return Program(values, tuple(code), {"x": 0}, {f"out{n}": n for n in outputs})


def apply(op, ins, *outs):
    ins = tuple(i if isinstance(i, int) else Literal(i) for i in ins)
    return Instruction(op, ins, outs, {}, several=len(outs) > 1)


@rule(("square:out", ("negative", "x")))
def square_of_negative(match):
    return [Instruction("square", (match["x"],), (match["out"],))]


def test_a_pattern_is_replaced_wherever_it_stands():
    program = straight(
        apply("negative", (0,), 1), apply("square", (1,), 2),
        apply("negative", (2,), 3), apply("square", (3,), 4), outputs=[4],
    )  # fmt: skip
    changed = rewrite(program, [square_of_negative])
    assert [i.op for i in changed.code] == ["square", "square"]
    assert changed.code[1].ins == changed.code[0].outs


@pytest.mark.parametrize("outputs", [[2, 1], [2, 3]])
def test_what_is_inside_must_have_no_other_use(outputs):
    program = straight(
        apply("negative", (0,), 1), apply("square", (1,), 2), apply("exp", (1,), 3),
        outputs=outputs,
    )  # fmt: skip
    assert rewrite(program, [square_of_negative]).code == program.code


def test_a_variable_is_one_value_wherever_it_occurs():
    @rule(("add:out", "x", "x"))
    def doubled(match):
        return [Instruction("multiply", (match["x"], Literal(2.0)), (match["out"],))]

    program = straight(apply("add", (0, 0), 1), apply("add", (0, 1), 2), outputs=[2])
    assert [i.op for i in rewrite(program, [doubled]).code] == ["multiply", "add"]


def test_numbers_are_operands_too():
    @rule(("multiply:out", "x", "factor"))
    def without_one(match):
        if match["factor"] != Literal(1.0):
            return None
        return [Instruction("positive", (match["x"],), (match["out"],))]

    program = straight(
        apply("multiply", (0, 1.0), 1), apply("multiply", (1, 2.0), 2), outputs=[2]
    )  # fmt: skip
    assert [i.op for i in rewrite(program, [without_one]).code] == ["positive", "multiply"]


@rule(("exp:a", "x"), ("exp:b", "y"))
def both_at_once(match):
    ins, outs = (match["x"], match["y"]), (match["a"], match["b"])
    return [Instruction("two_exponentials", ins, outs, {}, several=True)]


def test_several_roots_become_one_instruction_that_runs_where_it_can():
    program = straight(
        apply("exp", (0,), 1), apply("negative", (1,), 2), apply("square", (0,), 3),
        apply("exp", (3,), 4), apply("add", (2, 4), 5), outputs=[5],
    )  # fmt: skip
    changed = rewrite(program, [both_at_once])
    assert [i.op for i in changed.code] == ["square", "two_exponentials", "negative", "add"]
    assert changed.code[1].outs == (1, 4)


def test_what_needs_the_other_s_result_is_not_put_together():
    program = straight(
        apply("exp", (0,), 1), apply("negative", (1,), 2), apply("exp", (2,), 3), outputs=[3]
    )
    assert rewrite(program, [both_at_once]).code == program.code


def test_moves_come_before_what_puts_together():
    order = []

    @rule(("exp:out", "x"))
    def late(match):
        order.append("late")

    @rule(("exp:out", "x"), phase=0)
    def early(match):
        order.append("early")

    rewrite(straight(apply("exp", (0,), 1), outputs=[1]), [late, early])
    assert order == ["early", "late"]


def test_rules_that_undo_each_other_are_found_out():
    @rule(("exp:out", "x"))
    def there(match):
        return [Instruction("log", (match["x"],), (match["out"],))]

    @rule(("log:out", "x"))
    def back(match):
        return [Instruction("exp", (match["x"],), (match["out"],))]

    with pytest.raises(UsageError, match="does not come to an end"):
        rewrite(straight(apply("exp", (0,), 1), outputs=[1]), [there, back])


# -- the rules for layers --------------------------------------------------------------------------


def network(pool):
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(pool, stride=2),
        nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 3, 1), nn.BatchNorm2d(3), nn.Flatten(),
        nn.Linear(3 * ((9 - pool) // 2 + 1) ** 2, 3),
    )  # fmt: skip


def recorded(pool=2):
    model = network(pool)
    step = adl.train_step(model, "cross_entropy", adl.optimizer("sgd", learning_rate=0.1))
    draw = np.random.default_rng(0)
    # Few different numbers: many ties, and windows without a positive one.
    x = draw.integers(-2, 3, (4, 9, 9, 2)).astype(np.float32)
    return adl.program(step, x, draw.integers(0, 3, 4)), x


def arrays_for(program, x):
    """Random arrays for every input of a program; *x* for the pictures."""
    draw, arrays = np.random.default_rng(1), {"x": x}
    for name, number in program.inputs.items():
        value = program.values[number]
        drawn = np.abs(draw.normal(size=value.shape)) if "float" in value.dtype else 1
        arrays.setdefault(name, np.full(value.shape, drawn, value.dtype))
    return arrays


RULES = {
    "pool": ([fusion.relu_behind_max_pool], {"max_pool2d": 1, "relu": 2}),
    "pool's gradient": (
        [fusion.relu_grad_before_max_pool_grad, *fusion.CONVOLUTION],
        {"max_pool2d": 1, "conv2d_bias": 2, "relu": 1},
    ),
    "bias": ([fusion.bias_into_conv2d], {"conv2d_bias": 2, "conv2d": 1}),
    "relu": (list(fusion.CONVOLUTION), {"conv2d_bias": 2, "relu": 2}),
    "gradients": ([fusion.batch_norm_gradients_together], {"batch_norm_gradients": 2}),
    "two gradients": ([fusion.batch_norm_two_gradients_together], {"batch_norm_gradients": 2}),
    "normalised": (
        [fusion.batch_norm_gradients_together, fusion.relu_into_batch_norm],
        {"batch_norm_relu": 1, "batch_norm_relu_gradients": 1, "batch_norm_gradients": 1},
    ),
    "winners": ([fusion.winners_of_max_pool], {"max_pool2d_winners": 1, "max_pool2d_route": 1}),
    "bias gradient": (
        [fusion.bias_grad_into_weight_grad],
        {"conv2d_weight_bias_grad": 2, "conv2d_weight_grad": 1},
    ),
}


@pytest.mark.parametrize("pool", [2, 3])
@pytest.mark.parametrize("name", RULES)
def test_a_rule_keeps_every_result_to_the_bit(name, pool):
    rules, expected = RULES[name]
    with adl.use_backend("numpy", kernels=()):
        program, x = recorded(pool)
    changed = optimize(rewrite(program, rules))
    ops = [i.op for i in changed.code]
    assert {op: ops.count(op) for op in expected} == expected
    backend = adl.get_backend("strict")  # which has no kernels: the references compute
    arrays = {name: backend.asarray(a) for name, a in arrays_for(program, x).items()}
    plain = interpret(program, arrays, backend.xp)
    for name, array in interpret(changed, arrays, backend.xp).items():
        np.testing.assert_array_equal(
            backend.to_numpy(array), backend.to_numpy(plain[name]), err_msg=name
        )


# An adjoint belongs to the call whose results it reads, or to another one with other arguments.

WINDOW = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
WIDER = {"kernel": (3, 3), "stride": (2, 2), "padding": ((0, 1), (0, 1))}


def pooled(adjoint):
    """relu, max_pool2d and adjoints of x (0) and g (1); the image is read by nothing else."""
    return (
        Instruction("relu", (0,), (2,)), Instruction("max_pool2d", (2,), (3,), WINDOW),
        Instruction("max_pool2d_grad", (1, 2, 3), (4,), adjoint),
        Instruction("relu_grad", (4, 2), (5,)),
    ), (3, 5)  # fmt: skip


def normalised(input_grad, weight_grad):
    """batch_norm, relu and the three gradients of x (0) and g (1)."""
    return (
        Instruction("batch_norm", (0, 2, 3), (4, 5, 6), {"eps": 1e-5}, several=True),
        Instruction("relu", (4,), (7,)), Instruction("relu_grad", (1, 7), (8,)),
        Instruction("batch_norm_input_grad", (8, 0, 5, 6, 2), (9,), {"eps": input_grad}),
        Instruction("batch_norm_weight_grad", (8, 0, 5, 6), (10,), {"eps": weight_grad}),
        Instruction("sum", (8,), (11,), {"axis": (0, 1, 2), "keepdims": False, "dtype": None}),
    ), (7, 9, 10, 11)  # fmt: skip


def small(code, outputs):
    image, half, vector = (Value(s, "float32") for s in ((2, 4, 4, 3), (2, 2, 2, 3), (3,)))
    if code[1].op == "max_pool2d":
        values = {0: image, 1: half, 2: image, 3: half, 4: image, 5: image}
        inputs = {"x": 0, "g": 1}
    else:
        values = dict.fromkeys((0, 1, 4, 7, 8, 9), image)
        values |= dict.fromkeys((2, 3, 5, 6, 10, 11), vector)
        inputs = {"x": 0, "g": 1, "weight": 2, "bias": 3}
    return Program(values, code, inputs, {f"out{n}": n for n in outputs})


@pytest.mark.parametrize(
    ("rules", "same", "other"),
    [
        ([fusion.relu_behind_max_pool], pooled(WINDOW), pooled(WIDER)),
        ([fusion.relu_grad_before_max_pool_grad], pooled(WINDOW), pooled(WIDER)),
        ([fusion.winners_of_max_pool], pooled(WINDOW), pooled(WIDER)),
        ([fusion.batch_norm_gradients_together], normalised(1e-5, 1e-5), normalised(1e-5, 1e-2)),
        (
            [fusion.batch_norm_two_gradients_together],
            normalised(1e-5, 1e-5), normalised(1e-5, 1e-2),
        ),
    ],
)  # fmt: skip
def test_an_adjoint_with_other_arguments_is_left_alone(rules, same, other):
    assert rewrite(small(*same), rules).code != same[0]
    assert rewrite(small(*other), rules).code == other[0]


def test_relu_is_not_put_into_a_batch_norm_whose_gradients_have_another_eps():
    rules = [fusion.batch_norm_gradients_together, fusion.relu_into_batch_norm]

    def operations(eps):
        return [i.op for i in rewrite(small(*normalised(eps, eps)), rules).code]

    assert operations(1e-5) == ["batch_norm_relu", "batch_norm_relu_gradients"]
    assert "batch_norm_relu" not in operations(1e-2)
