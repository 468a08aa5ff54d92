"""``agnostic-dl predict``: what a trained run sees in pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agnostic_dl.cli import options

if TYPE_CHECKING:
    from agnostic_dl.train import Trainer

EXAMPLES = "Example: agnostic-dl predict runs/photos-lenet-adam cat.jpg dog.png --top 3"

Images = Annotated[
    list[Path],
    typer.Argument(metavar="IMAGE...", show_default=False,
                   help="JPEG, PNG, BMP or WebP files of any size."),
]  # fmt: skip
Top = Annotated[
    int, typer.Option("--top", "-k", min=1, metavar="K", help="How many classes to name.")
]
LabelImages = Annotated[
    Path | None,
    typer.Option("--label-images", metavar="DIR", show_default=False,
                 help="Write each picture with its label beneath it into this folder."),
]  # fmt: skip

Guess = tuple[str, float]


def predict(
    run: options.Run,
    images: Images,
    top: Top = 3,
    json_: options.Json = False,
    label_images: LabelImages = None,
    backend: options.Backend = None,
    device: options.Device = None,
    debug: options.Debug = False,
) -> None:
    """Name the classes of pictures, with their probabilities."""
    from agnostic_dl.cli.loading import load_run

    trainer = load_run(run, options.backend_name(backend, device))
    guesses = {path: guess(trainer, path, top) for path in images}
    if label_images is not None:
        _write_labelled(label_images, guesses)
    if json_:
        _print_json(guesses)
    else:
        _print(guesses)


def guess(trainer: Trainer, path: Path, top: int) -> list[Guess]:
    """The *top* classes for a picture file with their probabilities, the likeliest first."""
    from agnostic_dl import data as datasets
    from agnostic_dl.cli.loading import class_names, image_shape

    picture = datasets.load_image(path, image_shape(trainer))
    probabilities = trainer.backend.to_numpy(trainer.predict(picture))[0].tolist()
    names = class_names(trainer, len(probabilities))
    ranked = sorted(zip(names, probabilities, strict=True), key=lambda pair: -pair[1])
    return ranked[:top]


def _write_labelled(folder: Path, guesses: dict[Path, list[Guess]]) -> None:
    """Draw every picture, then write them all; two of one name get different names."""
    from agnostic_dl import viz
    from agnostic_dl.cli import run_folder as runs

    drawn: dict[str, bytes] = {}
    for path, ranked in guesses.items():
        name, number = f"{path.stem}.png", 2
        while name in drawn:
            name, number = f"{path.stem}-{number}.png", number + 1
        label, probability = ranked[0]
        drawn[name] = viz.png(viz.labelled_picture(path, f"{label}  {100 * probability:.1f} %"))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in drawn.items():
        runs.write(folder / name, content)


def _print_json(guesses: dict[Path, list[Guess]]) -> None:
    found: list[dict[str, Any]] = [
        {"image": str(path), "classes": [{"class": n, "probability": p} for n, p in ranked]}
        for path, ranked in guesses.items()
    ]
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _print(guesses: dict[Path, list[Guess]]) -> None:
    from agnostic_dl.cli import output
    from agnostic_dl.data.paths import show

    for path, ranked in guesses.items():
        named = "  ".join(f"{show(name)} {output.percent(p)}" for name, p in ranked)
        typer.echo(f"{show(path)}: {named}")
