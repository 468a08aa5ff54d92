"""Programs for the tests of plans, and how plans are run beside the interpreter."""

import numpy as np

import agnostic_dl as adl
from agnostic_dl.extend import (
    Instruction,
    Literal,
    Program,
    Value,
)
from agnostic_dl.primitives.program import interpret
from agnostic_dl_numpy.plan import compile_program


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
            positive = name.endswith((".v", "_var", "size", "root", "eps", "rate"))
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
