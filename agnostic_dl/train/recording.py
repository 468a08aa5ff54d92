"""A training step written down as a program: forward, backward and update of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agnostic_dl.errors import UsageError
from agnostic_dl.nn.losses import cross_entropy
from agnostic_dl.optim import flat
from agnostic_dl.optim.engine import clip_by_global_norm
from agnostic_dl.optim.update import apply_update, as_arrays
from agnostic_dl.primitives import library_of
from agnostic_dl.primitives.passes import optimize
from agnostic_dl.primitives.program import Instruction, Program
from agnostic_dl.primitives.recorder import Recorder
from agnostic_dl.train import health
from agnostic_dl.train.precision import unscaled

if TYPE_CHECKING:
    from agnostic_dl.train.step import TrainStep

#: The output that is the guard, and the input that is the scale of the loss.
FINITE, SCALE = "finite", "loss_scale"


@dataclass(frozen=True)
class Recording:
    """What one step computed, and how it is fed: see :class:`Recorder` for `reason`."""

    program: Program
    groups: tuple[flat.Group, ...]
    #: Names of the program's scalar inputs, by the identity of the optimizer that they are for.
    scalars: Mapping[int, Mapping[str, tuple[str, ...]]]
    reason: str | None


def record(step: TrainStep, x: Any, y: Any) -> Recording:
    """Run a step's forward, backward and update on a batch, and write them down.

    Nothing changes: what the model's buffers were, they are again.
    """
    buffers = [(b, b.data, b.reader) for b in step.model.buffers().values()]
    try:
        return _Writing(step, x, y).recording()
    finally:
        for buffer, before, reader in buffers:
            buffer.data = before
            if reader is not None:
                buffer.held_by(reader)


def program(step: TrainStep, x: Any, y: Any) -> Program:
    """The program that a training step is on batches such as (x, y): print it, or count it.

    `.flops` and `.bytes` say what it costs, `.bound(flops_per_second, bytes_per_second)` how fast
    it can be at best. Nothing is trained. Raises UsageError if the step cannot be captured.
    """
    if not hasattr(step, "gradients"):
        raise UsageError(
            f"program expects what adl.train_step(...) returns, got {type(step).__name__}"
        )
    backend = step.backend
    x, y = backend.asarray(x), backend.asarray(y)
    with step.overflowing():
        found = record(step, x, backend.xp.asarray(y, copy=True) if y is x else y)
    if found.reason is not None:
        raise UsageError(f"the step cannot be written as a program: {found.reason}")
    return optimize(found.program)


class _Writing:
    """The state of one recording."""

    def __init__(self, step: TrainStep, x: Any, y: Any) -> None:
        self.step, self.x, self.y = step, x, y
        self.recorder = Recorder(library_of("train_step", (x, y))[1])
        self.scale = step.scale()
        self.params = {n: p.data for n, p in step.model.parameters().items()}
        self.slots: Mapping[str, Any] = step.state["slots"]
        self.outputs: dict[str, Any] = {}
        self.donations: dict[str, str] = {}
        self.scalars: dict[int, dict[str, tuple[str, ...]]] = {}
        self._numbers: dict[Any, dict[str, Any]] = {}

    def recording(self) -> Recording:
        recorder, buffers = self.recorder, self.step.model.buffers()
        recorder.input("x", self.x)
        recorder.input("y", self.y)
        for name, array in self.params.items():
            recorder.input(f"param.{name}", array)
        if self.scale is not None:
            recorder.input(SCALE, self.scale)
        before = {name: buffer.data for name, buffer in buffers.items()}
        for name, array in before.items():
            recorder.input(f"buffer.{name}", array)
        with recorder.watching():
            loss, outputs, grads = self.step.scaled_gradients(self.x, self.y, self.scale)
        groups = self._update(loss, grads)
        for name, buffer in buffers.items():
            if buffer.data is not before[name]:
                self._feed_back(f"buffer.{name}", buffer.data)
        self.outputs |= {"loss": loss, "outputs": outputs}
        guard = FINITE if FINITE in self.outputs else None
        program = _from_storage(recorder.program(self.outputs, self.donations, guard), groups)
        return Recording(program, tuple(groups), self.scalars, recorder.reason)

    # -- the update -------------------------------------------------------------------------------

    def _update(self, loss: Any, grads: Mapping[str, Any]) -> list[flat.Group]:
        engine, recorder = self.step.engine, self.recorder
        grads = {n: g for n, g in grads.items() if engine.optimizer_for(n) is not None}
        groups = flat.groups(engine, self.params, self.slots, grads)
        numbers = engine.scalars(self.step.state)
        together = {name for group in groups for name in group.names}
        with recorder.watching():
            if engine.clip_norm:  # it carries NaN and infinity along
                grads = grads if self.scale is None else unscaled(grads, self.scale)
                grads = clip_by_global_norm(grads, engine.clip_norm)
            packed = [flat.pack([grads[name] for name in group.names]) for group in groups]
            rest = {name: grad for name, grad in grads.items() if name not in together}
            if self.step.check or self.scale is not None:
                self.outputs[FINITE] = health.all_finite(loss, [*packed, *rest.values()])
            if self.scale is not None and not engine.clip_norm:
                packed = list(unscaled(dict(enumerate(packed)), self.scale).values())
                rest = unscaled(rest, self.scale)
        for k, (group, grad) in enumerate(zip(groups, packed, strict=True)):
            self._update_group(k, group, grad, numbers)
        for name, grad in rest.items():
            self._update_one(name, grad, numbers)
        return groups

    def _update_group(self, k: int, group: flat.Group, grad: Any, numbers: Any) -> None:
        arrays = group.arrays(self.params, self.slots)
        for name, array in arrays.items():
            self.recorder.input(f"flat.{k}.{name}", array)
        scalars = self._scalars(group.optimizer, arrays["param"], numbers)
        with self.recorder.watching():
            new = flat.update(group, arrays, grad, scalars)
        for name, array in new.items():
            self._feed_back(f"flat.{k}.{name}", array)

    def _update_one(self, name: str, grad: Any, numbers: Any) -> None:
        optimizer, param, slots = (
            self.step.engine.optimizer_for(name), self.params[name], self.slots[name],
        )  # fmt: skip
        assert optimizer is not None
        for slot, array in slots.items():
            self.recorder.input(f"slot.{name}.{slot}", array)
        scalars = self._scalars(optimizer, param, numbers)
        with self.recorder.watching():
            new, state = apply_update(optimizer, param, grad, slots, scalars)
        self._feed_back(f"param.{name}", new)
        for slot, array in state.items():
            self._feed_back(f"slot.{name}.{slot}", array)

    def _feed_back(self, name: str, array: Any) -> None:
        self.outputs[name], self.donations[name] = array, name

    def _scalars(self, optimizer: Any, param: Any, numbers: Any) -> dict[str, Any]:
        """The step's numbers for an optimizer as inputs, made once for each dtype."""
        key = id(optimizer), str(param.dtype)
        if key not in self._numbers:
            arrays, k = as_arrays(numbers[id(optimizer)], param), len(self._numbers)
            self._numbers[key] = arrays
            names = self.scalars.setdefault(id(optimizer), {})
            for name, array in arrays.items():
                self.recorder.input(f"scalar.{k}.{name}", array)
                names[name] = (*names.get(name, ()), f"scalar.{k}.{name}")
        return self._numbers[key]


def _from_storage(program: Program, groups: list[flat.Group]) -> Program:
    """The program with the parameters of groups read from the groups' flat arrays."""
    inputs, code = dict(program.inputs), []
    for k, group in enumerate(groups):
        storage = inputs[f"flat.{k}.param"]
        for index, name in enumerate(group.names):
            static = {"shapes": group.shapes, "index": index}
            view = inputs.pop(f"param.{name}")
            code.append(Instruction("unpack", (storage,), (view,), static))
    return replace(program, inputs=inputs, code=(*code, *program.code))


def require_labels(step: TrainStep, program: Program, y: Any) -> None:
    """Refuse labels beyond the outputs, where the loss takes labels; before anything is changed."""
    if step.check and step.loss is cross_entropy:
        health.require_labels(program.values[program.outputs["outputs"]], y)
