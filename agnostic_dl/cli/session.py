"""One run of ``agnostic-dl train``: everything is checked before the first file is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agnostic_dl import data as datasets
from agnostic_dl.backends import get_backend, use_backend
from agnostic_dl.cli import (
    artefacts,
    building,
    keeping,
    measuring,
    options,
    output,
    progress,
    summary,
)  # fmt: skip
from agnostic_dl.cli import run_folder as runs
from agnostic_dl.cli.settings import Settings
from agnostic_dl.data.paths import show
from agnostic_dl.errors import DataError, NonFiniteError, OutOfMemoryError, UsageError
from agnostic_dl.train import Trainer, XRay
from agnostic_dl.train.batches import batch_size_for
from agnostic_dl.train.checkpoint import NoCheckpointError, sweep
from agnostic_dl.train.lab import provenance
from agnostic_dl.train.precision import Precision


class Session:
    """A run from its settings to the files in its folder."""

    def __init__(
        self, source: str, settings: Settings, given: set[str], epochs: int, backend: str | None,
        quiet: bool,
    ) -> None:  # fmt: skip
        self.source, self.settings, self.given = source, settings, given
        self.epochs, self.backend, self.quiet = epochs, get_backend(backend), quiet
        self.console = output.console()
        self.earlier: Trainer | None = None
        self.xray = False
        self.folder = Path()
        self.keeper: keeping.Keeper

    # -- before anything is written ---------------------------------------------------------------

    def open(self, out: Path | None, *, resume: bool, overwrite: bool, every: str) -> None:
        """Choose and check the run's folder; with *resume*, read its checkpoint.

        *every*: how often to save within an epoch.
        """
        chosen = self.settings
        self.folder = out or runs.default_folder(
            self.source, chosen.model, chosen.optimizer, resume=resume
        )
        runs.check_folder(self.folder, resume=resume, overwrite=overwrite)
        self.keeper = keeping.Keeper(self.folder, every, replace=overwrite)
        if resume:
            self._read_checkpoint()
        if self.settings.deterministic:
            self.backend.pin_threads()
        Precision(self.settings.precision).require(self.backend)
        _rehearse(self.settings, self.epochs)

    def _read_checkpoint(self) -> None:
        try:
            self.earlier = Trainer.load(self.folder, backend=self.backend.name)
        except NoCheckpointError as error:
            output.warn(f"no usable checkpoint ({error}); starting from the beginning")
            self.keeper.replace = True
            return
        sweep(self.folder)
        self.keeper.saved = keeping.progress(self.earlier)
        before = self.earlier.info.get("settings")
        if before is not None:
            self.settings = self.settings.continuing(
                Settings.of(before), self.given, show(self.folder)
            )

    def _load(self) -> tuple[Any, Any, Any]:
        """The data and, of them, the part to train on and the part to watch it with."""
        chosen = self.settings
        data = datasets.load(
            self.source, image_size=options.image_size(chosen.image_size), mode=chosen.mode
        )
        if not chosen.validation_fraction:
            return data, data.train, data.test
        return data, *datasets.split(data.train, chosen.validation_fraction, chosen.seed)

    def _trainer(self, train: Any) -> Trainer:
        chosen = self.settings
        statistics = measuring.channel_statistics(train) if chosen.standardize else None
        model = building.build_model(chosen, train.image_shape, len(train.classes), statistics)
        steps = -(-len(train) // self._batch_size(train))
        engine = building.build_engine(chosen, steps, self.epochs)
        with use_backend(self.backend):
            trainer = Trainer(
                model, engine, backend=None, seed=chosen.seed, precision=chosen.precision
            )
        trainer.info["settings"] = chosen.to_plain()
        _ = trainer.step  # initialises the model; finds patterns that match no parameter
        if self.earlier is not None:
            _take_over(trainer, self.earlier, train, show(self.folder))
        return trainer

    def _batch_size(self, train: Any) -> int:
        return batch_size_for(self.settings.batch_size, len(train))

    # -- the run ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Load the data, train, measure, and leave the results."""
        data, train, watched = self._load()
        trainer = self._trainer(train)
        if not self.quiet:
            self._introduce(trainer, data, train)
        self._fit(trainer, train, watched)
        artefacts.write_all(self.folder, trainer, data.test, self._held_out)
        self._conclude(trainer, data.test)

    def _introduce(self, trainer: Trainer, data: Any, train: Any) -> None:
        chosen, (height, width, channels) = self.settings, data.image_shape
        kind = {1: " grey", 3: " colour"}.get(channels, f" {channels}-channel")
        self.console.print(
            f"{show(data.name)}: {len(train):,} training and {len(data.test):,} test images, "
            f"{height}×{width}{kind}, {len(data.classes)} classes",
            markup=False, soft_wrap=True,
        )  # fmt: skip
        title = f"{chosen.model} by {chosen.optimizer} on {self.backend.name}"
        self.console.print(summary.as_table(summary.layers(trainer, data.image_shape), title))

    def _fit(self, trainer: Trainer, train: Any, watched: Any) -> None:
        todo = self.epochs - len(trainer.history)
        if todo <= 0:
            output.warn(f"{show(self.folder)} has {len(trainer.history)} epochs already")
            return
        watchers = [self.keeper, self._watch(len(train)), *self._xrays()]
        with keeping.signals(trainer) as received:
            try:
                trainer.fit(train, watched, todo, self._batch_size(train), callbacks=watchers)
            except (NonFiniteError, OutOfMemoryError) as error:
                raise type(error)(f"{error}; {self.keeper.kept()}") from error
        if received.exit_code is not None:
            raise output.Interrupted(self.keeper.kept(), received.exit_code)

    def _xrays(self) -> list[XRay]:
        if not self.xray:
            return []
        made = XRay.continued(self.folder / runs.XRAY)
        made.info = {
            "settings": self.settings.to_plain(), "data": show(self.source), "epochs": self.epochs,
            "seed": self.settings.seed, "versions": provenance.versions(self.backend.name),
        }  # fmt: skip
        return [made]

    def _watch(self, images: int) -> progress.Watch:
        kind: type[progress.Watch] = progress.Bar if output.is_terminal() else progress.Lines
        if self.quiet:
            kind = progress.Silent
        return kind(self.console, self.epochs, images, self._held_out)

    @property
    def _held_out(self) -> str:
        return "validation" if self.settings.validation_fraction else "test"

    def _conclude(self, trainer: Trainer, test: Any) -> None:
        measured = trainer.history[-1]
        if self.settings.validation_fraction:
            measured = {f"val_{n}": v for n, v in trainer.evaluate(test).items()}
        self.console.print(
            f"test loss {measured['val_loss']:.4f}, test accuracy "
            f"{100 * measured['val_accuracy']:.2f} %, run in {show(self.folder)}",
            markup=False, soft_wrap=True,
        )  # fmt: skip


def _rehearse(settings: Settings, epochs: int) -> None:
    """Build everything for make-believe data: a wrong name is found before real ones are read."""
    options.image_size(settings.image_size)
    if settings.batch_size is not None and settings.batch_size < 1:
        raise UsageError(f"--batch-size: expected a positive integer, got {settings.batch_size}")
    if not 0 <= settings.validation_fraction < 1:
        raise UsageError(
            f"--validation-fraction: expected 0 or a number below 1, got "
            f"{settings.validation_fraction}"
        )
    building.build_model(settings, (32, 32, 3), 2)
    building.build_engine(settings, 1, epochs)


def _take_over(trainer: Trainer, earlier: Trainer, train: Any, run: str) -> None:
    """Continue from *earlier*: its weights, optimizer state and history."""
    classes, shape = earlier.info.get("classes"), earlier.info.get("image_shape")
    if classes != list(train.classes) or shape != list(train.image_shape):
        raise DataError(
            f"{run} was trained on other data ({len(classes or [])} classes, images {shape}; these "
            f"have {len(train.classes)} classes, images {list(train.image_shape)}): choose another "
            "--out"
        )
    trainer.continue_from(earlier)
