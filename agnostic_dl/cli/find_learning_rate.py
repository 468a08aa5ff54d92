"""``agnostic-dl find-learning-rate``: the range test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agnostic_dl.cli import options, train

EXAMPLES = "Example: agnostic-dl find-learning-rate digits --model lenet --optimizer adam"

First = Annotated[float, typer.Option("--first", metavar="X", help="The rate to begin with.")]
Last = Annotated[float, typer.Option("--last", metavar="X", help="The rate to end with.")]
Steps = Annotated[int, typer.Option("--steps", min=10, metavar="N", help="Rates to try.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", show_default=False, help="Draw the losses, as PNG."),
]


def find_learning_rate(
    data: train.Data,
    model: train.Model = "lenet",
    optimizer: train.Optimizer = "adam",
    first: First = 1e-6,
    last: Last = 10.0,
    steps: Steps = 100,
    batch_size: train.BatchSize = None,
    seed: train.Seed = 0,
    image_size: train.ImageSize = None,
    mode: train.Mode = None,
    standardize: train.StandardizeImages = True,
    out: Out = None,
    backend: options.Backend = None,
    device: options.Device = None,
    debug: options.Debug = False,
) -> None:
    """Suggest a learning rate, from one short run whose rate rises until the loss explodes."""
    options.require_extra()
    from agnostic_dl import data as datasets
    from agnostic_dl import viz
    from agnostic_dl.cli import run_folder
    from agnostic_dl.data.statistics import channel_statistics
    from agnostic_dl.nn import models
    from agnostic_dl.train import range_test

    loaded = datasets.load(data, image_size=options.image_size(image_size), mode=mode)
    made = models.create(
        model, input_shape=loaded.image_shape, classes=len(loaded.classes),
        standardize=channel_statistics(loaded.train) if standardize else None,
    )  # fmt: skip
    found = range_test(
        made, loaded, optimizer, first=first, last=last, steps=steps, seed=seed,
        batch_size=batch_size or min(128, len(loaded.train)),
        backend=options.backend_name(backend, device),
    )  # fmt: skip
    if out is not None:
        run_folder.write(out, viz.png(found.plot()))
    typer.echo(
        f"{found.optimizer}: suggested learning rate {found.suggestion:.2g}; the loss was least at "
        f"{found.largest:.2g}; {len(found.rates)} of {steps} rates were tried, up to "
        f"{found.rates[-1]:.2g}"
    )
