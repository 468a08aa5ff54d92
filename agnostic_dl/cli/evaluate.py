"""``agnostic-dl evaluate``: how good a trained run is on data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agnostic_dl.cli import options

if TYPE_CHECKING:
    from agnostic_dl.train import Trainer

EXAMPLES = "Example: agnostic-dl evaluate runs/digits-lenet-adam digits"

_PARTS = {"test": "test part", "train": "training part", "all": "all there are"}

Data = Annotated[
    str,
    typer.Argument(metavar="DATA", show_default=False,
                   help="As for train; images are resized to what the network takes."),
]  # fmt: skip
Part = Annotated[
    str,
    typer.Option(
        "--part",
        metavar="test|train|all",
        help="Which part of the data; without a test part, a fifth is set aside as one.",
    ),
]


def evaluate(
    run: options.Run,
    data: Data,
    part: Part = "test",
    json_: options.Json = False,
    backend: options.Backend = None,
    device: options.Device = None,
    debug: options.Debug = False,
) -> None:
    """Measure a trained network: loss, accuracy, and the accuracy of each class."""
    from agnostic_dl.cli.loading import load_data, load_run

    trainer = load_run(run, options.backend_name(backend, device))
    found = measure(trainer, load_data(trainer, run, data, part))
    if json_:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print(found, part)


def measure(trainer: Trainer, dataset: Any) -> dict[str, Any]:
    """Loss and metrics over all images, and what there is to say of each class."""
    from agnostic_dl import viz
    from agnostic_dl.cli import measuring

    probabilities = measuring.probabilities(trainer, dataset)
    counts = viz.confusion_counts(
        dataset.labels, probabilities.argmax(axis=1), len(dataset.classes)
    )
    rows = zip(dataset.classes, measuring.per_class(counts), strict=True)
    return {
        "images": len(dataset),
        **trainer.evaluate(dataset),
        "classes": [{"class": name, **row} for name, row in rows if row["images"]],
    }


def _print(found: dict[str, Any], part: str) -> None:
    from agnostic_dl.cli import output

    table = output.table("class", "images", "right", "accuracy", numbers=("images", "right",
                                                                          "accuracy"))  # fmt: skip
    for row in found["classes"]:
        table.add_row(
            output.name(row["class"]), f"{row['images']:,}", f"{row['right']:,}",
            output.percent(row["accuracy"]),
        )  # fmt: skip
    console = output.console()
    console.print(table)
    console.print(
        f"{found['images']:,} images ({_PARTS.get(part, part)}): loss {found['loss']:.4f}, "
        f"accuracy {100 * found['accuracy']:.2f} %",
        soft_wrap=True,
    )
