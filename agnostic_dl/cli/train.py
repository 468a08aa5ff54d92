"""``agnostic-dl train``: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agnostic_dl.cli import options

EXAMPLES = """\
[bold]Examples[/bold]

agnostic-dl train digits

agnostic-dl train photos/ --image-size 32 --model resnet20 --epochs 30 --schedule cosine

agnostic-dl train digits -o sgd -l 0.1 --override 'conv*=adagrad:learning_rate=0.01'

agnostic-dl train digits --out runs/digits-lenet-adam --resume --epochs 40
"""

_OPTIMIZER, _SCHEDULE, _DATA, _RUN = "Optimizer", "Learning-rate schedule", "Data", "Run"

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", show_default=False,
        help="A folder with one folder of images for each class (also below train/ and test/), a "
        "folder of IDX files, an .npz file, or the built-in [bold]digits[/bold].",
    ),
]  # fmt: skip
Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="NAME",
                 help="linear, mlp, lenet, adam-paper-cnn, resnet20 or resnet18."),
]  # fmt: skip
Dropout = Annotated[
    float | None,
    typer.Option("--dropout", metavar="P", show_default=False,
                 help="Share of the units that mlp (default: 0.5) or adam-paper-cnn (0) drops "
                 "while it trains."),
]  # fmt: skip
Epochs = Annotated[
    int, typer.Option("--epochs", "-e", min=1, metavar="N", help="How often to see each image.")
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", "-b", metavar="N", show_default=False,
                 help="Images to a step. Default: 128, or all of a smaller dataset."),
]  # fmt: skip
Seed = Annotated[
    int, typer.Option("--seed", "-s", metavar="N",
                      help="For initial weights, order of images and dropout.")
]  # fmt: skip

Optimizer = Annotated[
    str,
    typer.Option("--optimizer", "-o", metavar="NAME", rich_help_panel=_OPTIMIZER,
                 help="Any that is installed (see [bold]plugins list[/bold])."),
]  # fmt: skip
LearningRate = Annotated[
    float | None,
    typer.Option("--learning-rate", "-l", metavar="X", show_default=False,
                 rich_help_panel=_OPTIMIZER, help="Default: the optimizer's own."),
]  # fmt: skip
Hyper = Annotated[
    list[str] | None,
    typer.Option("--hyper", metavar="KEY=VALUE", show_default=False, rich_help_panel=_OPTIMIZER,
                 help="Another hyperparameter, such as momentum=0.95; repeatable."),
]  # fmt: skip
Override = Annotated[
    list[str] | None,
    typer.Option("--override", metavar="PATTERN=OPTIMIZER[:KEY=VALUE,...]", show_default=False,
                 rich_help_panel=_OPTIMIZER,
                 help="Another optimizer for the parameters of that name, such as "
                 "'conv*=adagrad:learning_rate=0.01'; 'conv*=none' leaves them untrained; "
                 "repeatable."),
]  # fmt: skip
ClipNorm = Annotated[
    float | None,
    typer.Option("--clip-norm", metavar="X", show_default=False, rich_help_panel=_OPTIMIZER,
                 help="Scale gradients down to at most this norm."),
]  # fmt: skip

Schedule = Annotated[
    str,
    typer.Option("--schedule", metavar="NAME", rich_help_panel=_SCHEDULE,
                 help="constant; step: fall by a factor every few epochs; cosine: fall to nothing "
                 "over the run; hold: hold, then fall like 1/t; plateau: fall when the held-out "
                 "loss no longer does."),
]  # fmt: skip
WarmupSteps = Annotated[
    int,
    typer.Option("--warmup-steps", metavar="N", rich_help_panel=_SCHEDULE,
                 help="Rise linearly over the first N steps."),
]  # fmt: skip
DecayEvery = Annotated[
    int | None,
    typer.Option("--decay-every", metavar="EPOCHS", show_default=False, rich_help_panel=_SCHEDULE,
                 help="step: epochs between two falls. Default: a third of the run."),
]  # fmt: skip
DecayFactor = Annotated[
    float | None,
    typer.Option("--decay-factor", metavar="X", show_default=False, rich_help_panel=_SCHEDULE,
                 help="step, plateau: what a fall multiplies by. Default: 0.1."),
]  # fmt: skip
HoldSteps = Annotated[
    int | None,
    typer.Option("--hold-steps", metavar="N", show_default=False, rich_help_panel=_SCHEDULE,
                 help="hold: steps before it falls. Default: half of the run."),
]  # fmt: skip
FinalLearningRate = Annotated[
    float | None,
    typer.Option("--final-learning-rate", metavar="X", show_default=False,
                 rich_help_panel=_SCHEDULE, help="cosine, plateau: not below this. Default: 0."),
]  # fmt: skip
Patience = Annotated[
    int | None,
    typer.Option("--patience", metavar="EPOCHS", show_default=False, rich_help_panel=_SCHEDULE,
                 help="plateau: epochs without progress that are borne. Default: 3."),
]  # fmt: skip

ImageSize = Annotated[
    str | None,
    typer.Option("--image-size", metavar="HxW", show_default=False, rich_help_panel=_DATA,
                 help="Resize the images to 32x48 (height x width), or to 32, a square."),
]  # fmt: skip
Mode = Annotated[
    str | None,
    typer.Option("--mode", metavar="L|RGB", show_default=False, rich_help_panel=_DATA,
                 help="Grey (L) or colour (RGB). Default: as the images are."),
]  # fmt: skip
StandardizeImages = Annotated[
    bool,
    typer.Option("--standardize/--no-standardize", metavar="", rich_help_panel=_DATA,
                 help="Let the network scale images by the training images' mean and deviation."),
]  # fmt: skip
ValidationFraction = Annotated[
    float,
    typer.Option("--validation-fraction", metavar="X", rich_help_panel=_DATA,
                 help="Part of the training images to watch the training with; with 0, the test "
                 "images are."),
]  # fmt: skip

Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="RUN", show_default=False, rich_help_panel=_RUN,
                 help="The folder for the run. Default: runs/DATA-MODEL-OPTIMIZER, with a number "
                 "where there is one already."),
]  # fmt: skip
Resume = Annotated[
    bool,
    typer.Option("--resume", "-r", metavar="", rich_help_panel=_RUN,
                 help="Continue RUN up to --epochs; without a usable checkpoint, begin anew."),
]  # fmt: skip
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", metavar="", rich_help_panel=_RUN, help="Replace what RUN holds."),
]
XRay = Annotated[
    bool,
    typer.Option("--xray", metavar="", rich_help_panel=_RUN,
                 help="Watch what the optimizer does to each layer; leaves a report with phases, "
                 "effective steps and what other optimizers would have done."),
]  # fmt: skip
CheckpointEvery = Annotated[
    str,
    typer.Option("--checkpoint-every", metavar="N|TIME", rich_help_panel=_RUN,
                 help="Save within an epoch too: after so many steps (500) or so much time (90s, "
                 "10min)."),
]  # fmt: skip
Deterministic = Annotated[
    bool,
    typer.Option("--deterministic", metavar="", rich_help_panel=_RUN,
                 help="Give the same bits in each run: on a CPU in one thread, on a GPU without "
                      "kernels whose sums vary. Slower."),
]  # fmt: skip
Precision = Annotated[
    str | None,
    typer.Option("--precision", metavar="NAME", show_default=False, rich_help_panel=_RUN,
                 help="bfloat16 or float16: train with products in that type, and sums and weights "
                 "in float32. Default: float32 throughout."),
]  # fmt: skip
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", metavar="", help="Print the result and nothing else.")
]  # fmt: skip


def train(
    context: typer.Context,
    data: Data,
    model: Model = "lenet",
    epochs: Epochs = 20,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    dropout: Dropout = None,
    optimizer: Optimizer = "adam",
    learning_rate: LearningRate = None,
    hyper: Hyper = None,
    override: Override = None,
    clip_norm: ClipNorm = None,
    schedule: Schedule = "constant",
    warmup_steps: WarmupSteps = 0,
    decay_every: DecayEvery = None,
    decay_factor: DecayFactor = None,
    hold_steps: HoldSteps = None,
    final_learning_rate: FinalLearningRate = None,
    patience: Patience = None,
    image_size: ImageSize = None,
    mode: Mode = None,
    standardize: StandardizeImages = True,
    validation_fraction: ValidationFraction = 0.0,
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    xray: XRay = False,
    checkpoint_every: CheckpointEvery = "10min",
    deterministic: Deterministic = False,
    precision: Precision = None,
    backend: options.Backend = None,
    device: options.Device = None,
    quiet: Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train a network on labelled images; leave it and its pictures in a run's folder."""
    options.require_extra()
    from agnostic_dl.cli.session import Session
    from agnostic_dl.cli.settings import Settings

    given = {
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    settings = Settings.of({n: v for n, v in context.params.items() if v is not None})
    session = Session(data, settings, given, epochs, options.backend_name(backend, device), quiet)
    session.xray = xray
    session.open(out, resume=resume, overwrite=overwrite, every=checkpoint_every)
    session.run()
