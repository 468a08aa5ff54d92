"""One training run of a comparison: described as plain data, run anywhere, resumed by epochs."""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agnostic_dl.errors import AgnosticDLError, CheckpointError, NonFiniteError, UsageError
from agnostic_dl.nn import models
from agnostic_dl.nn.module import Module
from agnostic_dl.optim import schedules
from agnostic_dl.train.callback import Callback
from agnostic_dl.train.lab.entry import Entry
from agnostic_dl.train.lab.xray import XRay
from agnostic_dl.train.trainer import Trainer

#: Name → schedule that starts from a rate, for a number of steps.
SCHEDULES: dict[str, Callable[[float, int], Any]] = {
    "constant": lambda rate, steps: rate,
    "cosine": schedules.cosine,
    "inverse-sqrt": lambda rate, steps: schedules.inverse_sqrt(rate),
}

Parts = Mapping[str, Any]  # "train", "validation", "test" → dataset
Model = str | Callable[[], Module]


@dataclass(frozen=True)
class Job:
    """What one run is made of; equal jobs give equal results."""

    label: str
    optimizer: str | None
    hyper: dict[str, Any]
    rate: float
    seed: int
    epochs: int
    batch_size: int
    model: str
    model_options: dict[str, Any] = field(default_factory=dict)
    standardize: Any = None
    schedule: str = "constant"
    steps: int | None = None
    evaluations: int = 4
    xray: bool = False
    shadows: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    precision: str | None = None

    @property
    def key(self) -> str:
        """A name for the run's files: all that decides its result is in it."""
        fields = asdict(self)
        if self.precision is None:  # as those were called that knew none
            del fields["precision"]
        text = json.dumps(fields, sort_keys=True, default=str)
        digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
        kind = "search" if self.steps else "run"
        name = "".join(c if c.isalnum() or c in "-_" else "_" for c in self.label)[:40]
        return f"{kind}-{name}-{self.rate:.3g}-{self.seed}-{digest}"


class Enough(Exception):
    """The run has made all the steps that were asked for."""


def run_job(
    job: Job, parts: Parts, folder: Path, *, entry: Entry | None = None, model: Model | None = None,
    backend: str | None = None, tell: Callable[[dict[str, Any]], None] = lambda news: None,
) -> dict[str, Any]:  # fmt: skip
    """Run the job, or what is left of it after an interruption; the result is plain data.

    *entry*, *model*: what the job's names stand for, where these are no registered names. *tell* is
    called with a few numbers at every measurement.
    """
    steps = math.ceil(len(parts["train"]) / job.batch_size) * job.epochs
    trainer = _trainer(job, parts, folder, entry, model, backend, job.steps or steps)
    recorder = _Recorder(job, parts["validation"], folder, tell)
    watch = _xray(job, folder)
    left = job.epochs - len(trainer.history)
    diverged = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a run that diverges says so itself
        try:
            if left > 0:
                callbacks = [*([watch] if watch else []), recorder]
                trainer.fit(parts["train"], None, left, job.batch_size, callbacks)
        except Enough:
            pass
        except NonFiniteError:
            diverged = True
        result = _result(job, trainer, parts, diverged)
    result["xray"] = watch.record() if watch else None
    return result


def build(job: Job, parts: Parts, model: Model | None) -> Module:
    """The job's model, without values."""
    if callable(model):
        return model()
    train = parts["train"]
    return models.create(
        job.model, input_shape=tuple(train.image_shape), classes=len(train.classes),
        standardize=job.standardize, **job.model_options,
    )  # fmt: skip


def _trainer(
    job: Job, parts: Parts, folder: Path, entry: Entry | None, model: Model | None,
    backend: str | None, steps: int,
) -> Trainer:  # fmt: skip
    made = build(job, parts, model)
    if (folder / job.key).is_dir():
        try:
            return Trainer.load(folder / job.key, model=made, backend=backend)
        except CheckpointError:
            made = build(job, parts, model)  # damaged: from the beginning
    if job.schedule not in SCHEDULES:
        raise UsageError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {job.schedule!r}")
    entry = entry or Entry(job.label, job.optimizer, job.hyper)
    optimizer = entry.make(SCHEDULES[job.schedule](job.rate, steps))
    trainer = Trainer(
        made, optimizer, backend=backend, seed=job.seed, precision=job.precision
    )  # fmt: skip
    trainer.info["lab"] = {"curve": [], "seconds": 0.0}
    return trainer


def _xray(job: Job, folder: Path) -> XRay | None:
    if not job.xray or job.steps:
        return None
    return XRay.continued(folder / job.key / "xray.json", shadows=job.shadows or None)


def _result(job: Job, trainer: Trainer, parts: Parts, diverged: bool) -> dict[str, Any]:
    memory = trainer.info["lab"]
    found = {
        "label": job.label, "rate": job.rate, "seed": job.seed, "steps": trainer.step.count,
        "seconds": memory["seconds"], "curve": memory["curve"], "diverged": diverged,
        "train_loss": trainer.history["loss"][-1] if len(trainer.history) else None,
        "precision": job.precision,
    }  # fmt: skip
    if diverged:
        return {**found, "validation": None, "test": None}
    if job.steps:
        return {**found, "validation": trainer.evaluate(parts["validation"]), "test": None}
    last = memory["curve"][-1]
    validation = {"loss": last["val_loss"], "accuracy": last["val_accuracy"]}
    return {**found, "validation": validation, "test": trainer.evaluate(parts["test"])}


class _Recorder(Callback):
    """Measures a run a few times per epoch, with the clock stopped, and saves it every epoch."""

    def __init__(
        self, job: Job, validation: Any, folder: Path, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        self.job, self.validation, self.folder, self.tell = job, validation, folder, tell
        self.losses: list[float] = []
        self.per_epoch = 1
        self.mark = 0.0

    def on_fit_start(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        """Measure the model as it begins."""
        self.per_epoch = steps_per_epoch
        if not trainer.info["lab"]["curve"] and not self.job.steps:
            self._measure(trainer)
        self.mark = time.perf_counter()

    def on_step_end(self, trainer: Trainer, step: int, count: int, loss: float) -> None:
        """Stop the clock; measure where it is time."""
        trainer.backend.synchronize()
        memory = trainer.info["lab"]
        memory["seconds"] += time.perf_counter() - self.mark
        self.losses.append(loss)
        if self.job.steps and trainer.step.count >= self.job.steps:
            raise Enough
        if not self.job.steps and self._due(step):
            self._measure(trainer)
        self.mark = time.perf_counter()

    def _due(self, step: int) -> bool:
        parts, every = self.job.evaluations, self.per_epoch
        return any(step == max(every * part // parts, 1) for part in range(1, parts + 1))

    def _measure(self, trainer: Trainer) -> None:
        measured = trainer.evaluate(self.validation)
        row = {
            "step": trainer.step.count,
            "epoch": trainer.step.count / self.per_epoch,
            "seconds": trainer.info["lab"]["seconds"],
            "loss": sum(self.losses) / len(self.losses) if self.losses else None,
            **{f"val_{name}": value for name, value in measured.items()},
        }
        self.losses = []
        trainer.info["lab"]["curve"].append(row)
        self.tell({"label": self.job.label, "rate": self.job.rate, "seed": self.job.seed, **row})

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """Keep what an interrupted run goes on from."""
        if self.job.steps is None and len(trainer.history) < self.job.epochs:
            with suppress(AgnosticDLError):  # what cannot be saved is run in one go
                trainer.save(self.folder / self.job.key)
        self.mark = time.perf_counter()
