"""Trainer: a model, an optimizer and a loss, fitted to data and measured on it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agnostic_dl import backends, optim
from agnostic_dl.autograd import no_grad
from agnostic_dl.errors import UsageError
from agnostic_dl.nn import functional, losses
from agnostic_dl.nn.module import Module
from agnostic_dl.optim.engine import as_engine
from agnostic_dl.train import batches, memory, metrics
from agnostic_dl.train.callback import Callback
from agnostic_dl.train.epoch import Epoch
from agnostic_dl.train.history import History
from agnostic_dl.train.position import Position
from agnostic_dl.train.precision import Precision
from agnostic_dl.train.step import TrainStep


class Trainer:
    """Trains a model in place and keeps the history of it.

    *optimizer*: an optimizer, an Engine, or a name; *loss* and *metrics*: names or functions;
    *backend*: a name, None for the current one; *seed*: for initial weights, the order of batches
    and dropout. *check_finite*: stop in the step in which the loss or a gradient becomes NaN or
    infinite. *precision*: what the training computes in, see :func:`train_step`; evaluation and
    prediction always compute in the parameters' dtype. `info` holds plain data to be saved with the
    model.
    """

    def __init__(
        self, model: Module, optimizer: Any = "adam", loss: str | losses.Loss = "cross_entropy",
        metrics: Any = ("accuracy",), backend: str | None = None, seed: int = 0,
        check_finite: bool = True, precision: str | None = None,
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
        #: Where the epoch under way stands; None between epochs.
        self.position: Position | None = None
        #: Means over the epoch under way, for callbacks: {"loss": ..., "accuracy": ...}.
        self.running: dict[str, float] = {}
        self.check_finite, self.precision = check_finite, Precision(precision).name
        #: Whether a stop was requested, and whether one has ended the last fit.
        self.stop_requested = self.stopped = False
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
                self._step = TrainStep(
                    self.model, self.loss, self.engine, self.seed, self.check_finite,
                    precision=self.precision,
                )  # fmt: skip
        return self._step

    def _on_backend(self) -> backends.use_backend:
        return backends.use_backend(self.backend)

    # -- fitting --------------------------------------------------------------------------------

    def fit(
        self, train: Any, validation: Any = None, epochs: int = 5,
        batch_size: int | None = None, callbacks: Iterable[Callback] = (),
    ) -> History:  # fmt: skip
        """Train for *epochs* more epochs and return the history.

        *train*, *validation*: a dataset, `adl.data.load(...)` (its train and its test part), or
        arrays (x, y). *batch_size*: None for 128, or all of a smaller dataset. Every epoch sees
        each example once, in an order drawn from the seed. An epoch that was stopped in its middle
        is finished as the first of them.
        """
        source = batches.as_source(train, "train")
        held_out = None if validation is None else batches.as_source(validation, "test")
        size = batches.batch_size_for(batch_size, len(source))
        if not isinstance(epochs, int) or epochs < 1:
            raise UsageError(f"epochs: expected a positive integer, got {epochs!r}")
        self._remember(source)
        self.stopped = False
        watchers = list(callbacks)
        with self._on_backend():
            self.step.require_precision()
            try:
                for watcher in watchers:
                    watcher.on_fit_start(self, epochs, math.ceil(len(source) / size))
                self._epochs(epochs, source, held_out, size, watchers)
            finally:
                for watcher in watchers:
                    watcher.on_fit_end(self)
        return self.history

    def request_stop(self) -> None:
        """End `fit` at the next boundary of a step; safe to call from a signal's handler.

        Callbacks are told (`on_stop`), and a later fit goes on from there.
        """
        self.stop_requested = True

    def _epochs(
        self, epochs: int, source: Any, held_out: Any, batch_size: int, watchers: list[Callback]
    ) -> None:
        for _ in range(epochs):
            row = self._epoch(source, held_out, batch_size, watchers)
            if row is not None:
                self.history.append(row)
                self.position = None
                for watcher in watchers:
                    watcher.on_epoch_end(self, row)
            if self.stop_requested:
                for watcher in watchers:
                    watcher.on_stop(self)
                self.stop_requested, self.stopped = False, True
                return

    def _remember(self, source: Any) -> None:
        """Keep what a later prediction needs to know about the data."""
        for name, attribute in (("classes", "classes"), ("image_shape", "image_shape")):
            if hasattr(source, attribute):
                self.info[name] = list(getattr(source, attribute))

    def _epoch(
        self, source: Any, held_out: Any, batch_size: int, watchers: list[Callback]
    ) -> dict[str, float] | None:
        """The new row of the history; None if a stop was requested before it was complete."""
        epoch = Epoch(self, source, batch_size, watchers)
        if not epoch.train():
            return None
        row = epoch.row()
        if held_out is not None:
            means = self._means(held_out, batch_size, stoppable=True)
            if means is None:
                return None
            row.update({f"val_{name}": value for name, value in means.items()})
            self.step.state = self.engine.observe(self.step.state, means)
        return {**row, **epoch.ending()}

    @property
    def measured(self) -> list[str]:
        """The names of what is measured on every batch."""
        return ["loss", *self.metrics]

    def measure(self, outputs: Any, y: Any) -> list[float]:
        """The metrics of a batch's outputs, in order."""
        return [float(metric(outputs, y)) for metric in self.metrics.values()]

    # -- measuring and predicting ---------------------------------------------------------------

    def evaluate(self, data: Any, batch_size: int = 256) -> dict[str, float]:
        """Loss and metrics on data, as means over its examples: {"loss": ..., "accuracy": ...}."""
        means = self._means(batches.as_source(data, "test"), batch_size)
        assert means is not None
        return means

    def _means(
        self, source: Any, batch_size: int, stoppable: bool = False
    ) -> dict[str, float] | None:
        """Loss and metrics over a dataset; None if a stop was requested meanwhile."""
        sums, count = [0.0] * len(self.measured), 0
        for part in batches.slices(len(source), batch_size):
            if stoppable and self.stop_requested:
                return None
            with self._on_backend(), memory.guarded("measuring", part.stop - part.start, source):
                x, y = source[part]
                outputs, labels = self._outputs(x), self.backend.asarray(y)
                values = [float(self.loss(outputs, labels)), *self.measure(outputs, labels)]
            sums = [total + value * len(y) for total, value in zip(sums, values, strict=True)]
            count += len(y)
        return {n: total / count for n, total in zip(self.measured, sums, strict=True)}

    def predict(self, x: Any, batch_size: int = 256) -> Any:
        """Class probabilities (N, classes) for images (N, H, W, C), as arrays of the backend."""
        size = min(batch_size, x.shape[0])
        with self._on_backend(), memory.guarded("predicting", size, x):
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

    def continue_from(self, earlier: Trainer) -> None:
        """Take over the weights, optimizer state, history and position of *earlier*."""
        if earlier.precision != self.precision:
            raise UsageError(
                f"a run in precision {earlier.precision!r} cannot go on in {self.precision!r}: its "
                f"numbers would be others; make the trainer with precision={earlier.precision!r}"
            )
        self.model.load_state_dict(earlier.model.state_dict())
        self.step.state = earlier.step.state
        self.history, self.position = earlier.history, earlier.position

    # -- saving and loading ---------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write a checkpoint to *path*: a file if it ends in .safetensors, else a run's folder.

        What was there stays as the generation before it, for as long as that is the last.
        """
        from agnostic_dl.train import checkpoint

        checkpoint.save(self, Path(path))

    @classmethod
    def load(
        cls, path: str | Path, *, model: Module | None = None, backend: str | None = None,
        loss: Any = None, metrics: Any = None,
    ) -> Trainer:  # fmt: skip
        """The trainer that was saved at *path*, or in the run's folder *path*.

        *model*, *loss*, *metrics*: needed where the saved ones were not this library's. A damaged
        checkpoint is passed over, with a warning, for the generation before it.
        """
        from agnostic_dl.train import checkpoint

        return checkpoint.load(
            cls, Path(path), model=model, backend=backend, loss=loss, metrics=metrics
        )


_metrics = metrics.get
