"""``agnostic-dl new-plugin``: a complete, publishable package to write your own plugin over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agnostic_dl.cli import options

EXAMPLES = "Example: agnostic-dl new-plugin optimizer my-rule"

Kind = Annotated[
    str,
    typer.Argument(metavar="KIND", show_default=False, help="optimizer, backend or kernels."),
]
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", show_default=False,
                   help="Name to register: my-rule; for kernels <backend>.<name>: numpy.mine."),
]  # fmt: skip
Into = Annotated[
    Path, typer.Option("--into", metavar="FOLDER", help="Where to make the package's folder.")
]


def new_plugin(kind: Kind, name: Name, into: Into = Path(), debug: options.Debug = False) -> None:
    """Write a new plugin package: code that works, tests, README and a CI file."""
    from agnostic_dl import scaffold
    from agnostic_dl.data.paths import show

    made = scaffold.new_plugin(kind, name, into)
    typer.echo(f"{show(str(made.folder))}:")
    for path in made.files:
        typer.echo(f"  {show(str(path.relative_to(made.folder)))}")
    typer.echo("\nIt works as it is. Next:")
    for command in made.next_steps:
        typer.echo(f"  {show(command)}")
