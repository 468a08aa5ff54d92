"""Our steps: the public train_step, and the update that its program ends with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import agnostic_dl as adl
from agnostic_dl.backend import Backend
from agnostic_dl.optim import flat
from agnostic_dl.optim.engine import Engine
from agnostic_dl.optim.update import as_arrays
from agnostic_dl.primitives import library_of
from agnostic_dl.primitives.passes import optimize
from agnostic_dl.primitives.program import Program
from agnostic_dl.primitives.recorder import Recorder
from peers.rows import Problem, Row, problem, tensors, way
from peers.steps import Step, of_loss, of_update


def step(row: Row, kernels: tuple[str, ...], make: Callable[[Row], Problem] = problem) -> Step:
    """The row's step on NumPy with these kernel plugins."""
    backend = adl.use_backend("numpy", kernels=kernels).backend
    optimizer = adl.optimizer(row.optimizer, learning_rate=row.rate)
    if row.update_only:
        return _update(row, Engine(optimizer), backend)
    model, x, y = make(row)
    train = adl.train_step(model, "cross_entropy", optimizer)
    return of_loss(lambda: float(train(x, y)), lambda: adl.program(train, x, y))


# -- the update alone ------------------------------------------------------------------------------
#
# A captured step writes its gradients into flat storage as the backward pass finds them, and then
# updates all parameters at once. These are the very instructions, written down and compiled in the
# same way, with gradients that lie in that storage already, as PyTorch's lie in `.grad`.


def _update(row: Row, engine: Engine, backend: Backend) -> Step:
    params, grads = tensors(row)
    state = engine.init(params)
    (group,) = flat.groups(engine, params, state["slots"], params)
    arrays = group.arrays(params, state["slots"])
    program, names = _recorded(engine, group, arrays, flat.pack(list(grads.values())), state)
    plan = backend.compile(program)
    plan.load({f"flat.0.{name}": array for name, array in arrays.items()})
    position = {**state, "slots": {}}

    def update() -> None:
        numbers = engine.scalars(position)[id(engine.optimizer)]
        plan.run({names[name]: value for name, value in numbers.items()})
        position["step"] += 1

    return of_update(
        update, lambda: way(group.views(plan.read("flat.0.param")), params), lambda: program
    )


def _recorded(
    engine: Engine, group: flat.Group, arrays: dict[str, Any], grad: Any, state: dict[str, Any]
) -> tuple[Program, dict[str, str]]:
    """The update as a program, and the names of its scalar inputs; *grad* is a constant of it."""
    recorder = Recorder(library_of("update", (grad,))[1])
    for name, array in arrays.items():
        recorder.input(f"flat.0.{name}", array)
    scalars = as_arrays(engine.scalars(state)[id(engine.optimizer)], grad)
    names = {name: f"scalar.0.{name}" for name in scalars}
    for name, array in scalars.items():
        recorder.input(names[name], array)
    with recorder.watching():
        new = flat.update(group, arrays, grad, scalars)
    outputs = {f"flat.0.{name}": array for name, array in new.items()}
    return optimize(recorder.program(outputs, {name: name for name in outputs})), names
