"""What a step that is being recorded holds: what its program needs, and nothing twice."""

import tracemalloc
import weakref

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.primitives.cost import VIEWS, nbytes


@pytest.fixture(autouse=True)
def own_kernels():
    with adl.use_backend("numpy", kernels=()):
        yield


def image_network():
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.GlobalAvgPool2d(), nn.Linear(16, 10),
    ).init(0)  # fmt: skip


def batch():
    draw = np.random.default_rng(0)
    return draw.normal(size=(32, 40, 40, 3)).astype(np.float32), draw.integers(0, 10, 32)


def test_a_plan_that_has_the_optimizers_state_is_the_only_one_that_has_it():
    engine = adl.optim.Engine(
        adl.optimizer("adam"), overrides={"4.*": adl.optimizer("muon"), "0.weight": None}
    )
    step = adl.train_step(image_network(), "cross_entropy", engine)
    slots = step.state["slots"]
    first = [weakref.ref(array) for kept in slots.values() for array in kept.values()]
    names = {name: set(kept) for name, kept in slots.items()}
    del slots
    for _ in range(2):
        step(*batch())
    assert step.captured
    assert first
    assert not any(array() is not None for array in first)
    given = step.state["slots"]  # by the plan
    assert {name: set(kept) for name, kept in given.items()} == names
    assert all(np.any(array) for kept in given.values() for array in kept.values())


def needed(program):
    """Bytes that are alive at once if a program is run value by value, none in another's place.

    What only looks at an array in another way makes nothing, and that array lives on.
    """
    size = {number: nbytes(program, number) for number in program.values}
    base: dict[int, int] = {}
    for i in program.code:
        if i.op in VIEWS and len(i.reads) == 1:
            base[i.outs[0]] = base.get(i.reads[0], i.reads[0])
    last = {}
    for at, i in enumerate(program.code):
        last |= {base.get(number, number): at for number in (*i.reads, *i.outs)}
    last |= {base.get(number, number): len(program.code) for number in program.outputs.values()}
    last |= dict.fromkeys(program.inputs.values(), len(program.code))
    alive = sum(size[number] for number in program.inputs.values())
    most = alive
    for at, i in enumerate(program.code):
        alive += sum(size[number] for number in i.outs if number not in base)
        most = max(most, alive)
        alive -= sum(size[n] for n in {*i.reads, *i.outs} if n not in base and last[n] == at)
    return most


def peak_of(run):
    """Bytes that NumPy's arrays take while it runs, beyond those that there were."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def made():
    return adl.train_step(image_network(), "cross_entropy", adl.optimizer("adam"))


def second_recording(x, y):
    """The bytes of the one that is made while there is a plan."""
    step = made()
    step(x, y)
    taken = peak_of(lambda: step(x, y))
    assert step.captured
    return taken


def test_a_step_that_is_recorded_holds_what_its_program_needs():
    x, y = batch()
    step = made()
    program = adl.program(step, x, y)
    # The least of three: what a thread's kernels work in is made once, whenever that is.
    first = min(peak_of(lambda: adl.program(step, x, y)) for _ in range(3))
    second = min(second_recording(x, y) for _ in range(3))
    parameters = sum(p.data.nbytes for p in step.model.parameters().values())
    # The batch is there before, and counts as the program's: that is what else a step may take.
    assert first <= needed(program)
    assert second <= needed(program) + 3 * parameters  # copies of Adam's state, out of the plan
