"""Training: the step, the trainer, its history, metrics and checkpoints."""

from agnostic_dl.train.history import History
from agnostic_dl.train.step import TrainStep, train_step
from agnostic_dl.train.trainer import Callback, Trainer

__all__ = ["Callback", "History", "TrainStep", "Trainer", "train_step"]
