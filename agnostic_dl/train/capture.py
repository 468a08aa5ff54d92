"""The captured training step: recorded once, compiled by the backend, run from then on.

For each shape of batch the step is recorded twice, on the first two batches, and must be the same
program; what is computed is the plan's from the first batch on, so that a run that was resumed goes
on to the bit. The plan keeps parameters, buffers and optimizer state; whoever asks for them gets
copies in the documented layout, and what is assigned in between is taken over.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from agnostic_dl import random
from agnostic_dl.backend import Backend
from agnostic_dl.errors import CaptureWarning
from agnostic_dl.nn.parameter import Parameter, Reader
from agnostic_dl.nn.randomness import step_key
from agnostic_dl.optim.engine import Engine
from agnostic_dl.primitives.passes import optimize
from agnostic_dl.primitives.program import Plan
from agnostic_dl.primitives.recorder import differs
from agnostic_dl.train.recording import FINITE, SCALE, Recording, record, require_labels

if TYPE_CHECKING:
    from agnostic_dl.train.step import TrainStep


@dataclass
class _Entry:
    """The plan for one shape of batch."""

    recording: Recording
    plan: Plan
    draws: bool
    verified: bool = False


class Capture:
    """The plans of one training step, and the state that they share."""

    def __init__(self, step: TrainStep) -> None:
        self.step = step
        self._entries: dict[Any, _Entry] = {}
        self._owner: _Entry | None = None
        self._backend: Backend | None = None
        #: What the step was made of when it was recorded.
        self._made_of: tuple[Any, ...] = ()
        #: What the model's arrays are read by, and whether they asked for gradients.
        self._held: list[tuple[Parameter, Reader, bool]] = []
        self._copies: dict[str, Any] = {}
        self._slots: dict[str, Any] | None = None
        #: Why the step runs eagerly; None: it does not.
        self.reason: str | None = None

    @property
    def active(self) -> bool:
        """Whether plans hold the state."""
        return self._owner is not None

    # -- running ----------------------------------------------------------------------------------

    def run(self, backend: Backend, x: Any, y: Any) -> tuple[Any, Any] | None:
        """One step by the plan: (loss, outputs); None, and nothing changed: it must be eager."""
        step = self.step
        if self.reason is not None or type(step.engine) is not Engine:
            self.release()
            return None
        if self._owner is not None and not self._current(backend):
            self.release()
        key = x.shape, x.dtype, y.shape, y.dtype
        entry = self._entries.get(key)
        if entry is None or not entry.verified:
            entry = self._recorded(backend, key, entry, x, y)
            if entry is None:
                return None
        if not step.model.training:
            step.model.train()
        require_labels(step, entry.recording.program, y)
        found = entry.plan.run(self._inputs(backend, entry, x, y))
        if not found.get(FINITE, True):
            if step.skips(found["loss"]):
                return backend.asarray(found["loss"]), found["outputs"]
            self.release()  # the eager step finds out where it began, or that all is well
            return None
        self._changed()
        return backend.asarray(found["loss"]), found["outputs"]

    def _current(self, backend: Backend) -> bool:
        """Whether the plans still hold what the model and the step are made of."""
        now = _made_of(self.step)
        if backend is not self._backend or any(
            a is not b for a, b in zip(now, self._made_of, strict=True)
        ):
            return False
        return all(
            parameter.reader is reader and (parameter._edge is not None) == trained
            for parameter, reader, trained in self._held
        )

    def _inputs(self, backend: Backend, entry: _Entry, x: Any, y: Any) -> dict[str, Any]:
        step = self.step
        inputs = {"x": x, "y": y}
        if step.precision.scaling is not None:
            inputs[SCALE] = step.position["scaling"]["scale"]
        for identity, values in step.engine.scalars(step.position).items():
            names = entry.recording.scalars.get(identity)
            if names:
                for name, value in values.items():
                    for target in names[name]:
                        inputs[target] = value
        if entry.draws:
            key = step_key(step.seed, step.count + 1)
            inputs["key"] = random.key_array(backend.xp, key, device=backend.device)
        return inputs

    # -- recording --------------------------------------------------------------------------------

    def _recorded(
        self, backend: Backend, key: Any, entry: _Entry | None, x: Any, y: Any
    ) -> _Entry | None:
        for other in self._entries.values():
            other.plan.rest()  # a recording holds every array of an eager step
        recording = record(self.step, x, y)
        if recording.reason is not None:
            self._give_up(recording.reason)
            return None
        if entry is not None:
            reason = differs(entry.recording.program, recording.program)
            if reason is not None:
                self._give_up(reason)
                return None
            entry.verified = True
            return entry
        program = optimize(recording.program)
        like = None if self._owner is None else self._owner.plan
        if like is not None and set(program.state) != set(like.program.state):
            self._give_up("batches of another shape train other parameters")
            return None
        entry = _Entry(recording, backend.compile(program, like=like), "key" in program.inputs)
        if self._owner is None:
            self._take_over(backend, entry)
        self._entries[key] = entry  # the last: a plan whose state could not be loaded is none
        return entry

    def _give_up(self, reason: str) -> None:
        self.release()
        self.reason = reason
        warnings.warn(
            f"this training step cannot be captured and runs eagerly: {reason}. Pass capture=False "
            f"to train_step if it is meant to",
            CaptureWarning,
            stacklevel=2,
        )

    # -- the state --------------------------------------------------------------------------------

    def _take_over(self, backend: Backend, entry: _Entry) -> None:
        """Load the model's and the optimizer's arrays into the first plan."""
        step, recording = self.step, entry.recording
        params, buffers = step.model.parameters(), step.model.buffers()
        arrays = {name: parameter.data for name, parameter in params.items()}
        slots = step.state["slots"]
        state: dict[str, Any] = {f"param.{name}": array for name, array in arrays.items()}
        state |= {f"buffer.{name}": buffer.data for name, buffer in buffers.items()}
        state |= {f"slot.{n}.{s}": a for n, kept in slots.items() for s, a in kept.items()}
        for k, group in enumerate(recording.groups):
            flats = group.arrays(arrays, slots)
            state |= {f"flat.{k}.{name}": array for name, array in flats.items()}
        entry.plan.load({name: state[name] for name in entry.plan.program.state})
        self._owner, self._backend, self._made_of = entry, backend, _made_of(step)
        self._hold(recording, {**params, **buffers}, arrays)
        step.position = {**step.position, "slots": _names_alone(slots, entry)}

    def _hold(self, recording: Recording, holders: Mapping[str, Any], arrays: Any) -> None:
        places = {n: k for k, group in enumerate(recording.groups) for n in group.names}
        assert self._owner is not None
        held = set(self._owner.plan.program.state)
        for name, parameter in holders.items():
            kind = "param" if name in arrays else "buffer"
            if name in places or f"{kind}.{name}" in held:
                reader = partial(self._fetch, kind, name, places.get(name))
                self._held.append((parameter, reader, parameter._edge is not None))
                parameter.held_by(reader)

    def _fetch(self, kind: str, name: str, place: int | None) -> Any:
        """A copy of one array of the model."""
        if place is None:
            return self._copy(f"{kind}.{name}")
        return self._views(place, "param")[name]

    def _views(self, place: int, kind: str) -> dict[str, Any]:
        """By parameter, the pieces of the copy of one flat array of a group; cut once."""
        key = f"views.{place}.{kind}"
        if key not in self._copies:
            assert self._owner is not None
            group = self._owner.recording.groups[place]
            self._copies[key] = group.views(self._copy(f"flat.{place}.{kind}"))
        views: dict[str, Any] = self._copies[key]
        return views

    def _copy(self, name: str) -> Any:
        """A copy of one array of the state as it is after the last step, made once."""
        if name not in self._copies:
            assert self._owner is not None
            self._copies[name] = self._owner.plan.read(name)
        return self._copies[name]

    def _changed(self) -> None:
        """A step was made: copies are of the past."""
        self._copies.clear()
        self._slots = None
        for parameter, reader, _ in self._held:
            parameter.held_by(reader)
        self.step.advance()

    def slots(self, slots: Mapping[str, Any]) -> dict[str, Any]:
        """The optimizer's state by parameter, given what it was; as plain arrays."""
        if self._owner is None:
            return dict(slots)
        if self._slots is None:
            self._slots = self._fetched_slots(self._owner, slots)
        return self._slots

    def handed_out(self, slots: Mapping[str, Any]) -> bool:
        """Whether that is the optimizer's state as :meth:`slots` last gave it."""
        return self._slots is not None and slots is self._slots

    def _fetched_slots(self, owner: _Entry, slots: Mapping[str, Any]) -> dict[str, Any]:
        found, held = dict(slots), set(owner.plan.program.state)
        for k, group in enumerate(owner.recording.groups):
            views = {s: self._views(k, s) for s in group.slots}
            found |= {n: {s: views[s][n] for s in group.slots} for n in group.names}
        for name, kept in slots.items():
            if _has(held, name, kept):
                found[name] = {s: self._copy(f"slot.{name}.{s}") for s in kept}
        return found

    def release(self) -> None:
        """Give the arrays back to the model and the step, and forget the plans."""
        if self._owner is not None:
            self.step.take_back(self.slots(self.step.position["slots"]))
            for parameter, reader, _ in self._held:
                if parameter.reader is reader:
                    parameter.take_back()
        self._entries.clear()
        self._held.clear()
        self._copies.clear()
        self._owner = self._backend = self._slots = None


def _names_alone(slots: Mapping[str, Any], owner: _Entry) -> dict[str, Any]:
    """The optimizer's state without the arrays that the plan has taken over: one copy is enough."""
    grouped = {name for group in owner.recording.groups for name in group.names}
    held = set(owner.plan.program.state)
    return {
        name: dict.fromkeys(kept) if name in grouped or _has(held, name, kept) else kept
        for name, kept in slots.items()
    }


def _has(held: set[str], name: str, kept: Mapping[str, Any]) -> bool:
    return all(f"slot.{name}.{slot}" in held for slot in kept)


def _made_of(step: TrainStep) -> tuple[Any, ...]:
    return step.engine, step.loss, step.seed, step.check
