"""``agnostic-dl compare``: several optimizers on one task."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from agnostic_dl.cli import options, train

EXAMPLES = """\
[bold]Examples[/bold]

agnostic-dl compare digits

agnostic-dl compare photos/ --optimizers momentum:nesterov=true,adam --model resnet20 --xray

agnostic-dl compare digits --out runs/compare-digits-lenet --resume
"""

_SEARCH, _RUN = "Search for the learning rates", "Comparison"

Optimizers = Annotated[
    str,
    typer.Option("--optimizers", "--optimizer", "-o", metavar="NAME[:KEY=VALUE,...],...",
                 help="Any that are installed (see [bold]plugins list[/bold])."),
]  # fmt: skip
Seeds = Annotated[
    int, typer.Option("--seeds", min=1, metavar="N", help="How many runs for each optimizer.")
]
Seed = Annotated[
    int, typer.Option("--seed", "-s", metavar="N", help="The first of the seeds.")
]  # fmt: skip
Epochs = Annotated[
    int, typer.Option("--epochs", "-e", min=1, metavar="N", help="How often to see each image.")
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, metavar="N", show_default=False,
                 help="Train on about N images, all classes alike. Default: all."),
]  # fmt: skip
Schedule = Annotated[
    str, typer.Option("--schedule", metavar="NAME", help="constant, cosine or inverse-sqrt.")
]
Target = Annotated[
    float | None,
    typer.Option("--target", metavar="X", show_default=False,
                 help="The validation accuracy to which steps and seconds are counted, in 0..1."),
]  # fmt: skip
LearningRate = Annotated[
    float | None,
    typer.Option("--learning-rate", "-l", metavar="X", show_default=False, rich_help_panel=_SEARCH,
                 help="The same for all, without a search."),
]  # fmt: skip
Trials = Annotated[
    int,
    typer.Option("--trials", min=1, metavar="N", rich_help_panel=_SEARCH,
                 help="Learning rates to try for each; 1: none but the optimizer's own."),
]  # fmt: skip
SearchSteps = Annotated[
    int | None,
    typer.Option("--search-steps", min=1, metavar="N", show_default=False, rich_help_panel=_SEARCH,
                 help="Steps of a trial. Default: those of a run, at most 500."),
]  # fmt: skip
ValidationFraction = Annotated[
    float,
    typer.Option("--validation-fraction", metavar="X", rich_help_panel=_SEARCH,
                 help="Part of the training images to choose by; no run trains on them."),
]  # fmt: skip
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", show_default=False, rich_help_panel=_RUN,
                 help="Runs at a time. Default: one for each core."),
]  # fmt: skip
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", show_default=False, rich_help_panel=_RUN,
                 help="The folder for the report. Default: runs/compare-DATA-MODEL."),
]  # fmt: skip
Resume = Annotated[
    bool,
    typer.Option("--resume", "-r", metavar="", rich_help_panel=_RUN,
                 help="Go on with what an interrupted comparison has left in the folder."),
]  # fmt: skip


def compare(
    data: train.Data,
    optimizers: Optimizers = "sgd,momentum,adagrad,adam",
    model: train.Model = "lenet",
    seeds: Seeds = 3,
    seed: Seed = 0,
    epochs: Epochs = 5,
    batch_size: train.BatchSize = None,
    dropout: train.Dropout = None,
    schedule: Schedule = "constant",
    limit: Limit = None,
    target: Target = None,
    learning_rate: LearningRate = None,
    trials: Trials = 5,
    search_steps: SearchSteps = None,
    validation_fraction: ValidationFraction = 0.1,
    image_size: train.ImageSize = None,
    mode: train.Mode = None,
    standardize: train.StandardizeImages = True,
    precision: train.Precision = None,
    xray: train.XRay = False,
    workers: Workers = None,
    out: Out = None,
    resume: Resume = False,
    overwrite: train.Overwrite = False,
    backend: options.Backend = None,
    device: options.Device = None,
    quiet: train.Quiet = False,
    json_: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Train one network by several optimizers and report what each of them does.

    All begin with the same weights and see the same batches; each has its learning rate searched
    with the same budget.
    """
    options.require_extra()
    from agnostic_dl import data as datasets
    from agnostic_dl.cli import run_folder as runs
    from agnostic_dl.cli.output import Interrupted
    from agnostic_dl.data import paths
    from agnostic_dl.train import compare as run_comparison

    folder = out or runs.default_folder(data, model, "compare", resume=resume)
    runs.check_folder(folder, resume=resume, overwrite=overwrite)
    if resume:
        precision = _continued(folder, precision)
    size = options.image_size(image_size)
    show = _Show(quiet or json_)
    try:
        found = run_comparison(
            _Lazy(partial(datasets.load, data, image_size=size, mode=mode)), optimizers,
            model=model, seeds=seeds, seed=seed, epochs=epochs, batch_size=batch_size,
            learning_rate=learning_rate, trials=trials, search_steps=search_steps,
            schedule=schedule,
            validation_fraction=validation_fraction, target=target, limit=limit,
            standardize=standardize, model_options={} if dropout is None else {"dropout": dropout},
            xray=xray, backend=options.backend_name(backend, device), out=folder, resume=resume,
            workers=workers, progress=show, precision=precision,
        )  # fmt: skip
    except KeyboardInterrupt:
        raise Interrupted(
            f"what was finished is kept in {paths.show(folder)}: go on with --resume"
        ) from None
    if json_:
        typer.echo(json.dumps({"ranking": found.ranking, "target": found.target}, indent=2))
    else:
        _conclude(found, folder)


def _continued(folder: Path, given: str | None) -> str | None:
    """The precision of the comparison in *folder*, which *given* may not gainsay."""
    from agnostic_dl.data.paths import show
    from agnostic_dl.errors import UsageError
    from agnostic_dl.train.lab.pool import precisions

    made = precisions(folder / "jobs")
    if not made or given in made:
        return given
    before = next(iter(made))
    if given is not None:
        raise UsageError(
            f"{show(folder)} was made with --precision {before or '(its default)'}, not {given}: "
            f"leave --precision out to resume it, or choose another --out"
        )
    return before


class _Lazy:
    """Data that are read when they are first needed, after all options have been checked."""

    def __init__(self, load: Any) -> None:
        self.load, self.loaded = load, None

    def __getattr__(self, name: str) -> Any:
        if name in ("load", "loaded"):
            raise AttributeError(name)
        if self.loaded is None:
            self.loaded = self.load()
        return getattr(self.loaded, name)


class _Show:
    """One line for each trial and each measurement."""

    def __init__(self, quiet: bool) -> None:
        from agnostic_dl.cli import output

        self.quiet, self.console = quiet, output.console()

    def __call__(self, news: dict[str, Any]) -> None:
        line = _line(news)
        if line and not self.quiet:
            self.console.print(line, markup=False, soft_wrap=True)


def _line(news: dict[str, Any]) -> str | None:
    from agnostic_dl.cli import output

    who = f"{news['label']:<16} rate {news['rate']:<9.3g}"
    if "done" not in news:
        return (
            f"run     {who} seed {news['seed']}  epoch {news['epoch']:.2f}  validation loss "
            f"{news['val_loss']:.4f}  accuracy {output.percent(news['val_accuracy'])}  "
            f"{news['seconds']:.0f} s"
        )
    measured = news["result"]["validation"]
    if news["search"]:
        end = "diverged" if measured is None else f"validation loss {measured['loss']:.4f}"
        return f"search  {who} {end}"
    return f"run     {who} seed {news['seed']}  diverged" if measured is None else None


def _conclude(found: Any, folder: Path) -> None:
    from agnostic_dl.cli import output
    from agnostic_dl.data.paths import show

    goal = f"seconds to {100 * found.target:.4g} %"
    numbers = ("rank", "rate", "test accuracy", "training loss", "steps", goal)
    table = output.table("rank", "optimizer", *numbers[1:], numbers=numbers)
    for row in found.ranking:
        table.add_row(
            str(row["rank"]), output.name(row["optimizer"]), f"{row['learning_rate']:.3g}",
            _spread(row), "" if row["train_loss"] is None else f"{row['train_loss']:.4f}",
            *("-" if row[f"{n}_to_target"] is None else f"{row[f'{n}_to_target']:.0f}"
              for n in ("steps", "seconds")),
        )  # fmt: skip
    console = output.console()
    console.print(table)
    console.print(f"report: {show(folder / 'report.html')}", markup=False, soft_wrap=True)


def _spread(row: dict[str, Any]) -> str:
    if row["test_accuracy"] is None:
        return "diverged"
    text = f"{100 * row['test_accuracy']:.2f} %"
    spread = row["test_accuracy_sd"]
    return text if spread is None else f"{text} ± {100 * spread:.2f}"
