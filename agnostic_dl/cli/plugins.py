"""``agnostic-dl plugins``: what is installed, and what is wrong with it."""

from __future__ import annotations

from typing import Annotated

import typer

from agnostic_dl.cli import options

app = typer.Typer(no_args_is_help=False, help="See the installed backends, optimizers and kernels.")

TimeLimit = Annotated[
    float,
    typer.Option("--time-limit", metavar="SECONDS", min=0.1, help="For each plugin's import."),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", show_default=False,
                   help="Plugins or distributions; all if none is given."),
]  # fmt: skip
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", metavar="", help="Show the tracebacks as well.")
]


@app.command("list")
def list_(debug: options.Debug = False) -> None:
    """List the installed plugins; nothing is imported for it.

    The import times are those that [bold]plugins doctor[/bold] has measured.
    """
    from agnostic_dl import doctor
    from agnostic_dl.cli import output
    from agnostic_dl.plugins import list_plugins

    times = doctor.import_times()
    rows = output.table("name", "kind", "from", "version", "state", "import", numbers=("import",))
    for info in list_plugins():
        state = info.state if info.error is None else f"{info.state}: {info.error}"
        key = doctor.import_key(info.kind, info.name, info.distribution, info.version)
        taken = f"{1000 * times[key]:.0f} ms" if key in times else "–"
        cells = (info.name, info.kind, info.distribution, info.version, state, taken)
        rows.add_row(*map(output.name, cells))
    output.console().print(rows)


@app.command("doctor")
def doctor_(
    names: Names = None, time_limit: TimeLimit = 10.0, verbose: Verbose = False,
    debug: options.Debug = False,
) -> None:  # fmt: skip
    """Import each plugin in a process of its own; say what is wrong and what helps, in a line each.

    Ends with exit code 1 if any plugin cannot be used.
    """
    from agnostic_dl import doctor
    from agnostic_dl.data.paths import show

    found = doctor.examine(names or (), time_limit=time_limit)
    for diagnosis in found:
        good = diagnosis.healthy or diagnosis.state == "blocked"
        typer.echo(f"{'✓' if good else '✗'} {show(diagnosis.line)}")
        if diagnosis.cure and not diagnosis.healthy:
            typer.echo(f"  {show(diagnosis.cure_line)}")
        if verbose and diagnosis.details:
            typer.echo("".join(f"    {show(line)}\n" for line in diagnosis.details.splitlines()))
    ill = [d for d in found if not d.healthy and d.state != "blocked"]
    typer.echo(f"{len(found) - len(ill)} of {len(found)} plugins are fine")
    if ill:
        raise typer.Exit(1)
