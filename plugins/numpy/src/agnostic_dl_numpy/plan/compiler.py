"""From a recorded program to a plan: rewrites, chains, memory, calls."""

from __future__ import annotations

from typing import Any

from agnostic_dl.extend import Instruction, Literal, Program, chained, optimize, rewrite
from agnostic_dl_numpy.plan.binding import Binder
from agnostic_dl_numpy.plan.kernel import Call
from agnostic_dl_numpy.plan.memory import aligned_array
from agnostic_dl_numpy.plan.placing import Places
from agnostic_dl_numpy.plan.plan import Bound, NumpyPlan
from agnostic_dl_numpy.plan.pointwise import accepts


def compile_program(program: Program, backend: Any, like: NumpyPlan | None = None) -> NumpyPlan:
    """A plan for *program* with the backend's kernels; *like*: a plan whose state it shares."""
    planned = chained(optimize(rewrite(program, backend.rewrites)), accepts)
    state = _arrays(program, program.state) if like is None else like.state
    inputs = _arrays(program, [name for name in program.inputs if name not in program.state])
    places = Places(planned, state, inputs)
    binder = Binder(backend.xp, backend.kernels, backend.own_kernels())
    bound = [
        Bound(at, instruction, _call(places, binder, instruction))
        for at, instruction in enumerate(planned.code)
        if instruction.outs[0] not in places.base
    ]
    return NumpyPlan(program, places, bound, state, inputs)


def _arrays(program: Program, names: Any) -> dict[str, Any]:
    values = {name: program.values[program.inputs[name]] for name in names}
    return {name: aligned_array(value.shape, value.dtype) for name, value in values.items()}


def _call(places: Places, binder: Binder, instruction: Instruction) -> Call:
    operands = [i.value if isinstance(i, Literal) else places.of(i) for i in instruction.ins]
    return binder.bind(instruction, operands, [places.of(n) for n in instruction.outs])
