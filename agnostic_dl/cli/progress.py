"""Watching a training run: a live bar on a terminal, plain lines in a file."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from agnostic_dl.cli.output import clock, percent
from agnostic_dl.train import Callback, Trainer

_SILENCE = 5.0  # seconds: a plain line within an epoch comes no sooner than this
_LINES_PER_EPOCH = 4
_HEADINGS = ("epoch", "loss", "accuracy", "{held_out} loss", "accuracy", "images/s", "time")


class Watch(Callback):
    """What both displays share: where the run stands, how fast it is, how long it will take."""

    def __init__(self, console: Console, epochs: int, images: int, held_out: str) -> None:
        self.console, self.epochs, self.images, self.held_out = console, epochs, images, held_out
        self.headings = [heading.format(held_out=held_out) for heading in _HEADINGS]
        self.widths = [max(len(heading), 8) for heading in self.headings]
        self.steps = 1
        self.seen = 0
        self.epoch = 1
        self.first_epoch = 1
        self.started = self.epoch_started = time.perf_counter()

    def on_fit_start(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        """Before the first step."""
        self.epoch = self.first_epoch = len(trainer.history) + 1
        self.steps = steps_per_epoch
        self.seen = 0
        self.started = self.epoch_started = time.perf_counter()
        self.show_start()

    def on_step_end(self, trainer: Trainer, step: int, count: int, loss: float) -> None:
        """After a step."""
        self.seen += count
        self.show_step(step, trainer.running)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """After an epoch and its validation."""
        self.show_epoch(row)
        self.epoch, self.seen = self.epoch + 1, 0
        self.epoch_started = time.perf_counter()

    @property
    def rate(self) -> float:
        """Images per second in this epoch."""
        return self.seen / max(time.perf_counter() - self.epoch_started, 1e-9)

    @property
    def left(self) -> float:
        """Seconds until the end of the run, from all of it so far, validation included."""
        done = (self.epoch - self.first_epoch) * self.images + self.seen
        spent = time.perf_counter() - self.started
        whole = (self.epochs - self.first_epoch + 1) * self.images
        return spent / max(done, 1) * (whole - done)

    def cells(self, row: dict[str, float]) -> list[str]:
        """An epoch of the history as texts, one for each heading."""
        return [
            f"{int(row['epoch'])}/{self.epochs}",
            f"{row['loss']:.4f}",
            percent(row["accuracy"]),
            f"{row['val_loss']:.4f}",
            percent(row["val_accuracy"]),
            f"{row['images_per_second']:,.0f}",
            clock(row["seconds"]),
        ]

    def write(self, cells: Iterable[str]) -> None:
        """One line of the table that grows with the epochs."""
        line = "  ".join(f"{c:>{w}}" for c, w in zip(cells, self.widths, strict=True))
        self.console.print(line, markup=False, soft_wrap=True)

    def show_start(self) -> None:
        """Show what the columns mean."""
        self.write(self.headings)

    def show_step(self, step: int, running: dict[str, float]) -> None:
        """Show the means of the epoch so far."""

    def show_epoch(self, row: dict[str, float]) -> None:
        """Show a finished epoch."""
        self.write(self.cells(row))


class Lines(Watch):
    """One line for each epoch, and a few within an epoch that takes long."""

    last = 0.0

    def show_step(self, step: int, running: dict[str, float]) -> None:
        """A line at each quarter of an epoch, if there was none for a while."""
        now = time.perf_counter()
        quarter = -(-self.steps // _LINES_PER_EPOCH)
        if step % quarter or step == self.steps:
            return
        if now - max(self.last, self.epoch_started) < _SILENCE:
            return
        self.last = now
        self.console.print(
            f"    step {step}/{self.steps}: "
            f"loss {running['loss']:.4f}  accuracy {percent(running['accuracy'])}   "
            f"{self.rate:,.0f} images/s  {clock(self.left)} left",
            markup=False, soft_wrap=True,
        )  # fmt: skip


class Bar(Watch):
    """A bar for the epoch under way, beneath a line for each one that is done."""

    def __init__(self, console: Console, epochs: int, images: int, held_out: str) -> None:
        super().__init__(console, epochs, images, held_out)
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=None),
            TextColumn("{task.fields[now]}"), console=console, transient=True, expand=True,
            refresh_per_second=8,
        )  # fmt: skip
        self.task: Any = None

    def on_fit_start(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        """Draw the empty bar."""
        super().on_fit_start(trainer, epochs, steps_per_epoch)
        self.task = self.progress.add_task(self._title(), total=steps_per_epoch, now="")
        self.progress.start()

    def show_step(self, step: int, running: dict[str, float]) -> None:
        """Move the bar."""
        now = (
            f"loss {running['loss']:.4f}  accuracy {percent(running['accuracy'])}  "
            f"{self.rate:,.0f} images/s  {clock(self.left)} left"
        )
        self.progress.update(self.task, completed=step, now=now, description=self._title())

    def on_fit_end(self, trainer: Trainer) -> None:
        """Take the bar away, also after an error."""
        self.progress.stop()

    def _title(self) -> str:
        return f"epoch {self.epoch}/{self.epochs}"


class Silent(Watch):
    """Shows nothing."""

    def show_start(self) -> None:
        """Nothing."""

    def show_epoch(self, row: dict[str, float]) -> None:
        """Nothing."""
