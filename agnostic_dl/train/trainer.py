"""Trainer: a model, an optimizer and a loss, fitted to data and measured on it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agnostic_dl import backends, optim
from agnostic_dl.autograd import no_grad
from agnostic_dl.errors import NonFiniteError, UsageError
from agnostic_dl.nn import functional, losses
from agnostic_dl.nn.module import Module
from agnostic_dl.optim.engine import as_engine
from agnostic_dl.train import batches, metrics
from agnostic_dl.train.history import History
from agnostic_dl.train.step import TrainStep, train_step


class Callback:
    """Base of what watches a training run: override what is needed."""

    def on_fit_start(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        """Before the first step."""

    def on_step_end(self, trainer: Trainer, step: int, count: int, loss: float) -> None:
        """After a step: its number in the epoch (from 1), examples in it, its loss."""

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """After an epoch and its validation: the new row of the history."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last step, also when training was interrupted by an error."""


class Trainer:
    """Trains a model in place and keeps the history of it.

    *optimizer*: an optimizer, an Engine, or a name; *loss* and *metrics*: names or functions;
    *backend*: a name, None for the current one; *seed*: for initial weights, the order of batches
    and dropout. `info` holds plain data to be saved with the model.
    """

    def __init__(
        self, model: Module, optimizer: Any = "adam", loss: str | losses.Loss = "cross_entropy",
        metrics: Any = ("accuracy",), backend: str | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        if not isinstance(model, Module):
            raise UsageError(f"Trainer expects an nn.Module, got {type(model).__name__}")
        if isinstance(optimizer, str):
            optimizer = optim.optimizer(optimizer)
        self.model, self.engine, self.seed = model, as_engine(optimizer), int(seed)
        self.loss_name, self.loss = loss, losses.get(loss)
        self.metrics = _metrics(metrics)
        self.backend = backends.get_backend(backend)
        self.history = History()
        self.info: dict[str, Any] = {}
        #: Means over the epoch under way, for callbacks: {"loss": ..., "accuracy": ...}.
        self.running: dict[str, float] = {}
        self._step: TrainStep | None = None

    @property
    def optimizer(self) -> Any:
        """The optimizer, or the Engine if one was given with options."""
        plain = self.engine.clip_norm is None and not self.engine.overrides
        return self.engine.optimizer if plain else self.engine

    @property
    def step(self) -> TrainStep:
        """The training step with its optimizer state; initialises the model on first use."""
        if self._step is None:
            with self._on_backend():
                self._step = train_step(self.model, self.loss, self.engine, seed=self.seed)
        return self._step

    def _on_backend(self) -> backends.use_backend:
        return backends.use_backend(self.backend)

    # -- fitting --------------------------------------------------------------------------------

    def fit(
        self, train: Any, validation: Any = None, epochs: int = 5, batch_size: int = 128,
        callbacks: Iterable[Callback] = (),
    ) -> History:  # fmt: skip
        """Train for *epochs* more epochs and return the history.

        *train*, *validation*: a dataset, `adl.data.load(...)` (its train and its test part), or
        arrays (x, y). Every epoch sees each example once, in an order drawn from the seed.
        """
        source = batches.as_source(train, "train")
        held_out = None if validation is None else batches.as_source(validation, "test")
        batches.check_batch_size(batch_size, len(source))
        if not isinstance(epochs, int) or epochs < 1:
            raise UsageError(f"epochs: expected a positive integer, got {epochs!r}")
        self._remember(source)
        watchers = list(callbacks)
        with self._on_backend():
            try:
                for watcher in watchers:
                    watcher.on_fit_start(self, epochs, math.ceil(len(source) / batch_size))
                for _ in range(epochs):
                    row = self._epoch(source, held_out, batch_size, watchers)
                    self.history.append(row)
                    for watcher in watchers:
                        watcher.on_epoch_end(self, row)
            finally:
                for watcher in watchers:
                    watcher.on_fit_end(self)
        return self.history

    def _remember(self, source: Any) -> None:
        """Keep what a later prediction needs to know about the data."""
        for name, attribute in (("classes", "classes"), ("image_shape", "image_shape")):
            if hasattr(source, attribute):
                self.info[name] = list(getattr(source, attribute))

    def _epoch(
        self, source: Any, held_out: Any, batch_size: int, watchers: list[Callback]
    ) -> dict[str, float]:
        epoch, started, step = len(self.history) + 1, time.perf_counter(), self.step
        order = batches.shuffled(self.backend, self.seed, epoch, len(source))
        totals, rate = _Totals(["loss", *self.metrics]), step.learning_rate
        for number, part in enumerate(batches.slices(len(source), batch_size), start=1):
            x, y = source[order[part]]
            loss, outputs = step.run(x, self.backend.asarray(y))
            values = [float(loss), *self._measure(outputs, self.backend.asarray(y))]
            _require_finite(values[0], epoch, number)
            totals.add(values, len(y))
            self.running = totals.means()
            for watcher in watchers:
                watcher.on_step_end(self, number, len(y), values[0])
        self.backend.synchronize()
        seconds = time.perf_counter() - started
        row: dict[str, float] = {"epoch": epoch, "step": step.count, **totals.means()}
        if held_out is not None:
            measured = self.evaluate(held_out, batch_size=batch_size)
            row.update({f"val_{name}": value for name, value in measured.items()})
            step.state = self.engine.observe(step.state, measured)
        row["learning_rate"] = rate
        row["seconds"] = seconds
        row["images_per_second"] = len(source) / seconds
        return row

    def _measure(self, outputs: Any, y: Any) -> list[float]:
        return [float(metric(outputs, y)) for metric in self.metrics.values()]

    # -- measuring and predicting ---------------------------------------------------------------

    def evaluate(self, data: Any, batch_size: int = 256) -> dict[str, float]:
        """Loss and metrics on data, as means over its examples: {"loss": ..., "accuracy": ...}."""
        source = batches.as_source(data, "test")
        totals = _Totals(["loss", *self.metrics])
        for part in batches.slices(len(source), batch_size):
            x, y = source[part]
            with self._on_backend():
                outputs, labels = self._outputs(x), self.backend.asarray(y)
                values = [float(self.loss(outputs, labels)), *self._measure(outputs, labels)]
            totals.add(values, len(y))
        return totals.means()

    def predict(self, x: Any, batch_size: int = 256) -> Any:
        """Class probabilities (N, classes) for images (N, H, W, C), as arrays of the backend."""
        with self._on_backend():
            parts = [
                functional.softmax(self._outputs(x[part]))
                for part in batches.slices(x.shape[0], batch_size)
            ]
            if not parts:
                raise UsageError("predict: expected at least one image, got none")
            return parts[0] if len(parts) == 1 else self.backend.xp.concat(parts)

    def _outputs(self, x: Any) -> Any:
        """The model's outputs in evaluation mode, as a plain array."""
        _ = self.step  # initialises the model where nothing has yet
        was_training = self.model.training
        self.model.eval()
        try:
            with no_grad():
                return self.model(self.backend.asarray(x)).data
        finally:
            self.model.train(was_training)

    # -- saving and loading ---------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write a checkpoint into the folder *path*: safetensors and JSON, no pickle."""
        from agnostic_dl.train import checkpoint

        checkpoint.save(self, Path(path))

    @classmethod
    def load(
        cls, path: str | Path, *, model: Module | None = None, backend: str | None = None
    ) -> Trainer:
        """The trainer that was saved at *path*, or in the run's folder *path*.

        *model*: needed where the saved one had layers that are not this library's.
        """
        from agnostic_dl.train import checkpoint

        return checkpoint.load(cls, Path(path), model, backend)


_metrics = metrics.get


class _Totals:
    """Sums of per-batch means, weighted by the number of examples."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.sums, self.count = names, [0.0] * len(names), 0

    def add(self, values: list[float], count: int) -> None:
        self.sums = [total + value * count for total, value in zip(self.sums, values, strict=True)]
        self.count += count

    def means(self) -> dict[str, float]:
        return {n: total / self.count for n, total in zip(self.names, self.sums, strict=True)}


def _require_finite(loss: float, epoch: int, step: int) -> None:
    if not math.isfinite(loss):
        raise NonFiniteError(
            f"the loss became {loss} in step {step} of epoch {epoch}: lower the learning rate, "
            f"clip the gradients (clip_norm), or look for bad values in the data"
        )
