"""What both bridges need: the plugin's optimizer by name, and the other framework, if installed."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from typing import Any

from agnostic_dl import optim
from agnostic_dl.errors import MissingExtraError, UsageError
from agnostic_dl.optim.schedules import Schedule


def framework(name: str) -> Any:
    """The module *name*, or an error that says what to install."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"the bridge to {name} needs {name}, which is not installed: pip install {name}"
        ) from error


def make(name: str | optim.Optimizer, hyper: dict[str, Any], where: str) -> optim.Optimizer:
    """The plugin's optimizer: made by name, or as it was given."""
    if isinstance(name, optim.Engine):
        raise UsageError(
            f"{where} takes one optimizer, got an Engine: clipping, schedules and groups are "
            f"{where.partition('.')[0]}'s own there"
        )
    if not isinstance(name, str):
        instance: Any = name
        return dataclasses.replace(instance, **hyper) if hyper else name
    return optim.optimizer(name, **hyper)


def refuse_schedule(rate: Any, theirs: str) -> None:
    """A schedule of this library counts in Python; there the framework counts."""
    if isinstance(rate, Schedule):
        raise UsageError(f"learning_rate: expected a number or {theirs}, got {rate!r}")


def fields(optimizer: optim.Optimizer) -> dict[str, Any]:
    """All hyperparameters by name."""
    return {
        field.name: getattr(optimizer, field.name)
        for field in dataclasses.fields(optimizer)  # type: ignore[arg-type]
        if field.init
    }
