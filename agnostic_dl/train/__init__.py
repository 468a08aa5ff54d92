"""Training: the step, the trainer, its history, metrics and checkpoints."""

from agnostic_dl.train.callback import Callback
from agnostic_dl.train.history import History
from agnostic_dl.train.saving import Checkpoints, stop_on_signals
from agnostic_dl.train.step import TrainStep, train_step
from agnostic_dl.train.trainer import Trainer

__all__ = [
    "Callback", "Checkpoints", "History", "TrainStep", "Trainer", "stop_on_signals", "train_step",
]  # fmt: skip
