"""Contestants: optimizers by name, as text with hyperparameters, or as the objects themselves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agnostic_dl import optim, plugins
from agnostic_dl.errors import UnknownNameError, UsageError
from agnostic_dl.optim.base import Optimizer


@dataclass(frozen=True)
class Entry:
    """One optimizer in a comparison, without its learning rate unless that was given.

    *name* is the registered one; None for an object whose class no plugin has registered.
    """

    label: str
    name: str | None
    hyper: dict[str, Any] = field(default_factory=dict)
    rate: float | None = None
    made: Optimizer | None = None

    def make(self, learning_rate: Any) -> Optimizer:
        """The optimizer with that learning rate, a number or a schedule."""
        if self.made is not None:
            made: Any = self.made
            return dataclasses.replace(made, learning_rate=learning_rate)
        assert self.name is not None
        return optim.optimizer(self.name, **{**self.hyper, "learning_rate": learning_rate})

    @property
    def default_rate(self) -> float:
        """The learning rate that the optimizer has by itself: where a search begins."""
        made = self.made or optim.optimizer(self.name or "", **self.hyper)
        try:
            return float(made.learning_rate)
        except TypeError as error:
            raise UsageError(
                f"{self.label}: its learning rate is a schedule: give a number, or learning_rates="
            ) from error


def entries(optimizers: str | Iterable[Any] | Mapping[str, Any]) -> list[Entry]:
    """The contestants of "sgd,adam:beta1=0.8,beta2=0.99", of a list, or of a mapping by label.

    A list may hold names, such texts and optimizers; a mapping gives each its label.
    """
    if isinstance(optimizers, str):
        optimizers = _divided(optimizers)
    named = isinstance(optimizers, Mapping)
    pairs = optimizers.items() if isinstance(optimizers, Mapping) else [("", o) for o in optimizers]
    found = [_entry(str(label), value) for label, value in pairs]
    if not found:
        raise UsageError("optimizers: expected at least one, such as 'sgd,adam'")
    labels = [entry.label for entry in found]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice and not named:
        raise UsageError(f"optimizers: {', '.join(twice)} is there twice; name each once")
    return found


def _divided(text: str) -> list[str]:
    """ "sgd,adam:beta1=0.8,beta2=0.99" at the commas that begin an optimizer."""
    parts: list[str] = []
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        if parts and "=" in piece and ":" not in piece:
            parts[-1] += f",{piece}"
        else:
            parts.append(piece)
    return parts


def _entry(label: str, value: Any) -> Entry:
    if isinstance(value, str):
        return _from_text(label, value)
    if isinstance(value, Optimizer) and dataclasses.is_dataclass(value):
        return _from_object(label, value)
    raise UsageError(
        f"optimizers: expected names or optimizers of adl.optimizer(...), got {value!r}"
    )


def _from_text(label: str, text: str) -> Entry:
    name, _, rest = text.partition(":")
    hyper = {}
    for pair in filter(None, rest.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"optimizers: expected NAME:KEY=VALUE,..., got {text!r}")
        hyper[key.strip().replace("-", "_")] = _value(value.strip())
    rate = hyper.pop("learning_rate", None)
    entry = Entry(label or text, name, hyper, None if rate is None else float(rate))
    optim.optimizer(name, **hyper)  # a wrong name or hyperparameter is found now
    return entry


def _value(text: str) -> Any:
    try:
        return json.loads(text.lower())
    except ValueError:
        return text


def _from_object(label: str, made: Any) -> Entry:
    try:
        name: str | None = plugins.name_of("optimizer", type(made))
    except UnknownNameError:
        name = None
    if callable(made.learning_rate):
        raise UsageError("optimizers: a learning rate to compare is a number, not a schedule")
    hyper = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    rate = float(hyper.pop("learning_rate"))
    return Entry(label or name or type(made).__name__, name, hyper, rate, made)
