"""The commands, one file each, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from agnostic_dl.cli import (
    bench,
    check_plugin,
    compare,
    evaluate,
    find_learning_rate,
    new_plugin,
    plugins,
    predict,
    train,
)

app = typer.Typer(
    name="agnostic-dl", add_completion=False, rich_markup_mode="rich",
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
    epilog="A first try, without any download: [bold]agnostic-dl train digits[/bold]",
)  # fmt: skip

app.command("train", epilog=train.EXAMPLES)(train.train)
app.command("compare", epilog=compare.EXAMPLES)(compare.compare)
app.command("find-learning-rate", epilog=find_learning_rate.EXAMPLES)(
    find_learning_rate.find_learning_rate
)
app.command("evaluate", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("predict", epilog=predict.EXAMPLES)(predict.predict)
app.add_typer(plugins.app, name="plugins")
app.command("new-plugin", epilog=new_plugin.EXAMPLES)(new_plugin.new_plugin)
app.command("check-plugin", epilog=check_plugin.EXAMPLES)(check_plugin.check_plugin)
app.command("bench", epilog=bench.EXAMPLES)(bench.bench)


HELP = """\
Train networks that recognise images, look at what they learned, and use them.

Point [bold]train[/bold] at a folder of images, sorted into one folder for each class. It leaves a \
run: the trained network, with its learning curves and its worst mistakes as pictures. \
[bold]evaluate[/bold] and [bold]predict[/bold] use that run.
"""


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"agnostic-dl {version('agnostic-dl')}")
        raise typer.Exit


@app.callback(help=HELP, invoke_without_command=True)
def agnostic_dl(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, metavar="",
                           help="Print the version and exit.")
    ] = False,
) -> None:  # fmt: skip
    """The options before a command; without a command, the help."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
