"""``agnostic-dl bench``: this machine's backends side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agnostic_dl.cli import options

if TYPE_CHECKING:
    from agnostic_dl.cli.measurements import Figures

EXAMPLES = """\
[bold]Examples[/bold]

agnostic-dl bench

agnostic-dl bench --models lenet --batch-size 32 --backends numpy,numpy+kernels,strict

agnostic-dl bench --backends numpy,numpy+onednn --rounds 20 --json figures.json
"""

Models = Annotated[
    str,
    typer.Option("--models", "--model", "-m", metavar="NAME,...",
                 help="Whose training steps to time: linear, mlp, lenet, adam-paper-cnn, resnet20; "
                 "'' for none."),
]  # fmt: skip
BatchSize = Annotated[
    int, typer.Option("--batch-size", "-b", min=1, metavar="N", help="Images to a step.")
]
Backends = Annotated[
    str | None,
    typer.Option("--backends", "--backend", metavar="NAME[+KERNELS],...", show_default=False,
                 help="numpy: its own kernels only; numpy+kernels: with those of all installed "
                 "plugins; numpy+onednn: with that plugin's. Default: all that are available, but "
                 "for strict."),
]  # fmt: skip
Rounds = Annotated[
    int,
    typer.Option(
        "--rounds", min=1, metavar="N", help="How often each has its turn; slow ones less often."
    ),
]
Json = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", show_default=False, help="Write the figures to FILE."),
]


def bench(
    models: Models = "mlp,lenet,adam-paper-cnn,resnet20",
    batch_size: BatchSize = 128,
    backends: Backends = None,
    rounds: Rounds = 5,
    json_: Json = None,
    debug: options.Debug = False,
) -> None:
    """Time training steps, a convolution and an optimizer on every backend, in turns.

    Other libraries are compared with by [bold]benchmarks/compare_peers.py[/bold] of a clone.
    """
    from agnostic_dl.cli import contestants, measurements, output, run_folder, workloads
    from agnostic_dl.data.paths import show
    from agnostic_dl.errors import BackendUnavailable

    chosen = workloads.choose(_listed(models), batch_size)
    found, absent = contestants.choose(None if backends is None else _listed(backends))
    console = output.console()
    status = console.status("") if output.is_terminal() else None
    figures = measurements.measure(chosen, found, absent, rounds, status)
    if json_ is not None:
        run_folder.write(json_, json.dumps(figures.to_plain(), indent=1).encode())
    if figures.rows:
        console.print(_table(figures, [contestant.label for contestant in found]))
    for line in figures.notes():
        console.print(line, markup=False, soft_wrap=True)
    if not figures.rows:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in absent.items())
        raise BackendUnavailable(f"nothing was measured: {show(reasons or 'every step failed')}")


def _listed(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _table(figures: Figures, labels: list[str]) -> Any:
    from agnostic_dl.cli import output

    table = output.table("workload", *labels, numbers=tuple(labels))
    for workload in figures.workloads:
        cells = [_cell(figures, workload, label) for label in labels]
        table.add_row(output.name(workload), *cells)
    return table


def _cell(figures: Figures, workload: str, label: str) -> str:
    figure = figures.rows.get((workload, label))
    if figure is None:
        return "–"
    speed = f"{figure.images_per_second:,.0f}/s" if figure.images else ""
    share = f"{100 * figure.share(figures.speeds[label]):.0f} %"
    return f"{_milliseconds(figure.median)} {speed:>9} {share:>5}"


def _milliseconds(seconds: float) -> str:
    digits = 0 if seconds >= 1 else 1 if seconds >= 0.1 else 2
    return f"{1e3 * seconds:,.{digits}f} ms"
