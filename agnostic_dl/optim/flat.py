"""Parameters that are updated alike, laid end to end, so that one update serves them all.

An elementwise optimizer treats every element the same, wherever it stands: its update of many
parameters is its update of one long array, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.optim.base import Optimizer
from agnostic_dl.optim.engine import Engine
from agnostic_dl.optim.update import apply_update
from agnostic_dl.primitives import PRIMITIVES

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Group:
    """Parameters of one elementwise optimizer and dtype, in order, and the names of its state."""

    optimizer: Optimizer
    names: tuple[str, ...]
    shapes: Shapes
    slots: tuple[str, ...]

    def arrays(self, params: Mapping[str, Any], slots: Mapping[str, Any]) -> dict[str, Any]:
        """Their flat arrays: "param" and each of the state's."""
        packed = {"param": pack([params[name] for name in self.names])}
        return packed | {s: pack([slots[name][s] for name in self.names]) for s in self.slots}

    def views(self, flat: Any) -> dict[str, Any]:
        """The arrays of a flat one, by name of the parameter."""
        unpack = PRIMITIVES["unpack"]
        return {n: unpack(flat, shapes=self.shapes, index=i) for i, n in enumerate(self.names)}


def pack(arrays: list[Any]) -> Any:
    """Arrays laid end to end in a new one."""
    return PRIMITIVES["pack"](*arrays)


def groups(
    engine: Engine, params: Mapping[str, Any], slots: Mapping[str, Any], names: Iterable[str]
) -> list[Group]:
    """The groups that those of *names* form whose optimizer is elementwise; others form none."""
    found: dict[Any, list[str]] = {}
    for name in names:
        optimizer, param = engine.optimizer_for(name), params[name]
        if optimizer is None or not type(optimizer).elementwise:
            continue
        if all(s.shape == param.shape and s.dtype == param.dtype for s in slots[name].values()):
            key = id(optimizer), str(param.dtype), tuple(slots[name])
            found.setdefault(key, []).append(name)
    return [_group(engine, params, slots, members) for members in found.values()]


def _group(
    engine: Engine, params: Mapping[str, Any], slots: Mapping[str, Any], names: list[str]
) -> Group:
    optimizer = engine.optimizer_for(names[0])
    assert optimizer is not None
    shapes = tuple(tuple(params[name].shape) for name in names)
    return Group(optimizer, tuple(names), shapes, tuple(slots[names[0]]))


def update(
    group: Group, flat: Mapping[str, Any], grad: Any, numbers: Mapping[str, Any]
) -> dict[str, Any]:
    """One update of a group's flat arrays, given the step's 0-d *numbers*: the new ones."""
    state = {name: flat[name] for name in group.slots}
    param, new = apply_update(group.optimizer, flat["param"], grad, state, numbers)
    return {"param": param, **new}
