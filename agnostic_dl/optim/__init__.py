"""Optimizers: the protocol, the engine that applies it to a model, learning-rate schedules."""

from agnostic_dl.optim import schedules
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.optim.engine import BoundEngine, Engine, clip_by_global_norm
from agnostic_dl.optim.registry import list_optimizers, optimizer
from agnostic_dl.optim.update import step

__all__ = [
    "BoundEngine", "Engine", "Optimizer", "clip_by_global_norm", "list_optimizers", "optimizer",
    "schedules", "step",
]  # fmt: skip
