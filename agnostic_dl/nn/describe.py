"""Models as plain data and back: for checkpoints, which must not name anything to import.

Only layers of this library can be described; a model with others is rebuilt by its own code.
"""

from __future__ import annotations

import inspect
from typing import Any

from agnostic_dl.errors import CheckpointError
from agnostic_dl.nn import layers, models, weighted
from agnostic_dl.nn.module import Module

_KINDS: dict[str, type[Module]] = {
    kind.__name__: kind
    for kind in (
        layers.Identity, layers.Flatten, layers.GlobalAvgPool2d, layers.ReLU, layers.LeakyReLU,
        layers.Tanh, layers.Sigmoid, layers.SiLU, layers.GELU, layers.Softmax, layers.Standardize,
        layers.MaxPool2d, layers.AvgPool2d, layers.Dropout, weighted.Linear, weighted.Conv2d,
        weighted.BatchNorm2d, weighted.LayerNorm, models.ResidualBlock,
    )
}  # fmt: skip


def describe(model: Module) -> dict[str, Any] | None:
    """The model as nested dicts, numbers and strings; None if it has layers of its own."""
    if type(model) is layers.Sequential:
        parts = {name: describe(layer) for name, layer in model.layers.items()}
        return None if None in parts.values() else {"layer": "Sequential", "layers": parts}
    name = type(model).__name__
    if _KINDS.get(name) is not type(model):
        return None
    return {"layer": name, "arguments": {a: _argument(model, a) for a in _arguments(type(model))}}


def _arguments(kind: type[Module]) -> list[str]:
    if kind.__init__ is object.__init__:
        return []
    return list(inspect.signature(kind.__init__).parameters)[1:]


def _argument(layer: Module, name: str) -> Any:
    """A constructor's argument, read back from the attribute of that name."""
    value = getattr(layer, name)
    if name == "bias":
        return value is not None
    return list(value) if isinstance(value, tuple) else value


def build(description: dict[str, Any]) -> Module:
    """The model of a description, without values."""
    try:
        if description["layer"] == "Sequential":
            parts = {name: build(part) for name, part in description["layers"].items()}
            model = layers.Sequential()
            model.layers = parts
            return model
        arguments = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in description["arguments"].items()
        }
        return _KINDS[description["layer"]](**arguments)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"the description of the model is damaged or of a newer version: "
            f"{type(error).__name__}: {error}"
        ) from error
