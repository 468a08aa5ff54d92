"""`compare`: optimizers on the same task, from the same weights, with the same batches."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agnostic_dl.backends import get_backend
from agnostic_dl.errors import UsageError
from agnostic_dl.nn import models
from agnostic_dl.train import batches
from agnostic_dl.train.lab import provenance
from agnostic_dl.train.lab.comparison import Comparison
from agnostic_dl.train.lab.entry import Entry, entries
from agnostic_dl.train.lab.job import SCHEDULES, Job, Model
from agnostic_dl.train.lab.pool import Pool, Tell
from agnostic_dl.train.lab.search import Trial, best_rate, next_rates
from agnostic_dl.train.precision import Precision

_BATCH, _VALIDATION = 128, 2000


def compare(
    data: Any, optimizers: str | Iterable[Any] | Mapping[str, Any] = "sgd,momentum,adagrad,adam", *,
    model: Model = "lenet", seeds: int | Sequence[int] = 3, seed: int = 0, epochs: int = 5,
    batch_size: int | None = None, learning_rate: float | None = None,
    learning_rates: Mapping[str, float] | None = None, trials: int = 5,
    search_steps: int | None = None, schedule: str = "constant",
    validation_fraction: float = 0.1, target: float | None = None, limit: int | None = None,
    standardize: bool = True, model_options: Mapping[str, Any] | None = None,
    xray: bool = False, backend: str | None = None, out: str | os.PathLike[str] | None = None,
    resume: bool = True, workers: int | None = None, progress: Tell | None = None,
    note: str | None = None, precision: str | None = None,
) -> Comparison:  # fmt: skip
    """Train one model by several optimizers and compare what they do.

    All runs of a seed begin with the same weights and see the same batches. Each optimizer's
    learning rate is searched with the same budget, *trials* runs of *search_steps* steps (default:
    those of a run, at most 500) with the first seed, and chosen by the loss on the validation
    split, a part of the training data that no run trains on. The test data are used once, at the
    end of a run. The ranking is by test accuracy.

    *data*: a path or name for `adl.data.load`, or what that gives. *optimizers*: as a text
    ("sgd,adam:beta1=0.8"), or names and optimizers in a list or by label; an optimizer given as an
    object keeps its learning rate. *model*: a name, or a function that makes one. *seeds*: how
    many, from *seed* on, or a list. *learning_rate* (of all), *learning_rates* (by label): no
    search. *schedule*: constant, cosine or inverse-sqrt. *target*: the validation accuracy to which
    steps and seconds are counted; None: the highest round one that half of the optimizers reach.
    *limit*: train on about so many examples. *out*: a folder for the results; an interrupted
    comparison goes on from what is there (*resume*). *workers*: processes; None: one for each core.
    *note*: a sentence for the report. *precision*: what the runs compute in, see `train_step`.
    """
    contestants = entries(optimizers)
    fixed = _fixed(contestants, learning_rate, learning_rates or {})
    chosen = _checked_seeds(seeds, seed)
    _check(epochs, trials, schedule, model, validation_fraction)
    parts, name = _parts(data, validation_fraction, limit)
    size = min(_BATCH, len(parts["train"])) if batch_size is None else batch_size
    batches.check_batch_size(size, len(parts["train"]))
    per_epoch = math.ceil(len(parts["train"]) / size)
    steps = min(search_steps or 500, per_epoch * epochs)
    template = Job(
        label="", optimizer=None, hyper={}, rate=0.0, seed=chosen[0], epochs=epochs,
        batch_size=size, model=model if isinstance(model, str) else _name_of(model),
        model_options=dict(model_options or {}), schedule=schedule, xray=xray,
        standardize=_statistics(parts["train"]) if standardize else None,
        data=_fingerprint(name, parts), precision=precision,
    )  # fmt: skip
    library = get_backend(backend)
    Precision(precision).require(library)
    settings: dict[str, Any] = {
        **_described(template, parts), "data": name, "seeds": chosen, "limit": limit,
        "optimizers": [entry.label for entry in contestants],
        "searched": [entry.label for entry in contestants if entry.label not in fixed],
        "search_trials": trials, "search_steps": steps, "backend": library.name,
        "workers": workers or os.cpu_count() or 1, "note": note,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="agnostic-dl-") as scratch:
        folder = Path(scratch if out is None else out) / "jobs"
        pool = Pool(
            parts, folder, backend or library.name, settings["workers"],
            progress or (lambda news: None), model, contestants, resume,
        )  # fmt: skip
        with pool:
            settings["workers"] = pool.workers
            found = _search(pool, template, contestants, fixed, trials, steps)
            rates = {label: best_rate(own) for label, own in found.items()}
            results = _runs(pool, template, contestants, rates, chosen)
    result = Comparison.of(settings, found, results, target, provenance.versions(library.name))
    if out is not None:
        result.write(out)
    return result


def _described(job: Job, parts: Mapping[str, Any]) -> dict[str, Any]:
    """What all runs have in common, for the report."""
    return {
        "model": job.model, "model_options": job.model_options, "epochs": job.epochs,
        "batch_size": job.batch_size, "schedule": job.schedule, "xray": job.xray,
        "precision": job.precision,
        "standardize": job.standardize is not None,
        "steps_per_epoch": math.ceil(len(parts["train"]) / job.batch_size),
        **{part: len(examples) for part, examples in parts.items()},
    }  # fmt: skip


def _name_of(model: Callable[[], Any]) -> str:
    return getattr(model, "__qualname__", type(model).__name__)


def _fixed(
    contestants: Sequence[Entry], rate: float | None, rates: Mapping[str, float]
) -> dict[str, float]:
    unknown = sorted(rates.keys() - {entry.label for entry in contestants})
    if unknown:
        raise UsageError(f"learning_rates: no optimizer is called {', '.join(unknown)}")
    found = {}
    for entry in contestants:
        value = rates.get(entry.label, entry.rate if entry.rate is not None else rate)
        if value is not None:
            entry.make(value)  # a wrong rate is found now
            found[entry.label] = float(value)
    return found


def _checked_seeds(seeds: int | Sequence[int], first: int) -> list[int]:
    chosen = list(range(first, first + seeds)) if isinstance(seeds, int) else list(seeds)
    if not chosen or len(set(chosen)) != len(chosen):
        raise UsageError(f"seeds: expected at least one, all different, got {seeds!r}")
    return chosen


def _check(epochs: int, trials: int, schedule: str, model: Model, fraction: float) -> None:
    for name, value in (("epochs", epochs), ("trials", trials)):
        if not isinstance(value, int) or value < 1:
            raise UsageError(f"{name}: expected a positive integer, got {value!r}")
    if schedule not in SCHEDULES:
        raise UsageError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {schedule!r}")
    if isinstance(model, str):
        models.create(model, input_shape=(32, 32, 3), classes=2)
    elif not callable(model):
        raise UsageError("model: expected a name, or a function that makes a model")
    if not 0 < fraction < 1:
        raise UsageError(f"validation_fraction: expected a number in (0, 1), got {fraction}")


def _parts(data: Any, fraction: float, limit: int | None) -> tuple[dict[str, Any], str]:
    from agnostic_dl import data as datasets
    from agnostic_dl.data.bundle import limited

    if isinstance(data, (str, os.PathLike)):
        data = datasets.load(data)
    if not hasattr(data, "train") or not hasattr(data, "test"):
        raise UsageError(
            f"compare: expected a path or adl.data.load(...), got {type(data).__name__}"
        )
    if limit is not None and limit < 2 * len(data.train.classes):
        raise UsageError(f"limit: expected at least {2 * len(data.train.classes)}, got {limit}")
    train, validation = datasets.split(limited(data.train, limit), fraction)
    parts = {"train": train, "validation": limited(validation, _VALIDATION), "test": data.test}
    return parts, str(getattr(data, "name", "data"))


def _fingerprint(name: str, parts: Mapping[str, Any]) -> str:
    import hashlib

    digest = hashlib.blake2b(digest_size=8)
    for part in parts.values():
        digest.update(part.labels.tobytes())
        digest.update(part[:16][0].tobytes())
    return f"{name}-{digest.hexdigest()}"


def _statistics(train: Any) -> Any:
    from agnostic_dl.data.statistics import channel_statistics

    return [list(values) for values in channel_statistics(train)]


def _search(
    pool: Pool, template: Job, contestants: Sequence[Entry], fixed: Mapping[str, float],
    budget: int, steps: int,
) -> dict[str, list[Trial]]:  # fmt: skip
    """The trials of every optimizer, in rounds in which all take part."""
    found: dict[str, list[Trial]] = {
        entry.label: [Trial(fixed[entry.label], math.nan)] if entry.label in fixed else []
        for entry in contestants
    }
    if budget == 1:  # one trial decides nothing
        for entry in contestants:
            found[entry.label] = found[entry.label] or [Trial(entry.default_rate, math.nan)]
        return found
    while True:
        jobs = [
            replace(_job(template, entry, rate), steps=steps, xray=False)
            for entry in contestants
            if entry.label not in fixed
            for rate in next_rates(entry.default_rate, found[entry.label], budget)
        ]
        if not jobs:
            return found
        for job, result in zip(jobs, pool.run(jobs), strict=True):
            measured = result["validation"]
            loss = math.inf if measured is None else float(measured["loss"])
            found[job.label].append(Trial(job.rate, loss if math.isfinite(loss) else math.inf))


def _job(template: Job, entry: Entry, rate: float) -> Job:
    return replace(
        template, label=entry.label, optimizer=entry.name, hyper=entry.hyper, rate=float(rate)
    )


def _runs(
    pool: Pool, template: Job, contestants: Sequence[Entry], rates: Mapping[str, float],
    seeds: Sequence[int],
) -> list[dict[str, Any]]:  # fmt: skip
    jobs = [
        replace(_job(template, entry, rates[entry.label]), seed=seed,
                shadows=_shadows(contestants, rates, entry) if template.xray else {})
        for seed in seeds
        for entry in contestants
    ]  # fmt: skip
    return pool.run(jobs)


def _shadows(
    contestants: Sequence[Entry], rates: Mapping[str, float], real: Entry
) -> dict[str, Any]:
    """The other contestants, with the rates that were found for them."""
    return {
        entry.label: {"name": entry.name, **entry.hyper, "learning_rate": rates[entry.label]}
        for entry in contestants
        if entry.label != real.label and entry.name is not None
    }
