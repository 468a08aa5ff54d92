"""Training: the step, the trainer, its history, metrics and checkpoints; the laboratory."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agnostic_dl.train.callback import Callback
from agnostic_dl.train.history import History
from agnostic_dl.train.recording import program
from agnostic_dl.train.saving import Checkpoints, stop_on_signals
from agnostic_dl.train.step import TrainStep, train_step
from agnostic_dl.train.trainer import Trainer

if TYPE_CHECKING:
    from agnostic_dl.train.lab.compare import compare
    from agnostic_dl.train.lab.diagnosis import Diagnosis, diagnose
    from agnostic_dl.train.lab.range_test import range_test
    from agnostic_dl.train.lab.xray import XRay

__all__ = [
    "Callback", "Checkpoints", "Diagnosis", "History", "TrainStep", "Trainer", "XRay", "compare",
    "diagnose", "program", "range_test", "stop_on_signals", "train_step",
]  # fmt: skip

#: The laboratory is imported when it is first used.
_HOMES = {
    "Diagnosis": "diagnosis",
    "XRay": "xray",
    "compare": "compare",
    "diagnose": "diagnosis",
    "range_test": "range_test",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.lab.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
