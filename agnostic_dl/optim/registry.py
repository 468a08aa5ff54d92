"""Optimizers by name: found among the installed plugins, imported when first asked for."""

from __future__ import annotations

import dataclasses
from typing import Any

from agnostic_dl import plugins
from agnostic_dl.errors import UsageError
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.optim.schedules import check_rate
from agnostic_dl.plugins import list_optimizers as list_optimizers


def optimizer(name: str, **hyperparameters: Any) -> Optimizer:
    """Make the optimizer of that name: the plugin's frozen dataclass itself.

    Raises UnknownNameError for a name that is not installed, UsageError for a hyperparameter that
    the optimizer does not have or a learning rate that is not positive.
    """
    make: Any = plugins.lookup("optimizer", name)
    known = _hyperparameters(name, make)
    unknown = [key for key in hyperparameters if key not in known]
    if unknown:
        raise UsageError(
            f"optimizer {name!r} has no hyperparameter {', '.join(map(repr, unknown))}; it has: "
            f"{', '.join(known)}"
        )
    made: Optimizer = make(**hyperparameters)
    check_rate(made.learning_rate)
    return made


def _hyperparameters(name: str, kind: Any) -> list[str]:
    if not dataclasses.is_dataclass(kind):
        raise plugins.PluginError(f"optimizer {name!r}: {kind!r} is not a dataclass")
    return [f.name for f in dataclasses.fields(kind) if f.init]
