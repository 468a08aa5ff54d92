"""``agnostic-dl plugins``: what is installed."""

from __future__ import annotations

import typer

from agnostic_dl.cli import options

app = typer.Typer(no_args_is_help=False, help="See the installed backends, optimizers and kernels.")


@app.command("list")
def list_(debug: options.Debug = False) -> None:
    """List the installed plugins; nothing is imported for it."""
    from agnostic_dl.cli import output
    from agnostic_dl.plugins import list_plugins

    rows = output.table("name", "kind", "from", "version", "state")
    for info in list_plugins():
        state = info.state if info.error is None else f"{info.state}: {info.error}"
        cells = (info.name, info.kind, info.distribution, info.version, state)
        rows.add_row(*map(output.name, cells))
    output.console().print(rows)
