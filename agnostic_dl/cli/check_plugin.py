"""``agnostic-dl check-plugin``: does a plugin keep the contract, rule by rule?"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from agnostic_dl.cli import options

EXAMPLES = "Example: agnostic-dl check-plugin adam"

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", show_default=False, help="Name of an installed plugin."),
]
Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", show_default=False,
                 help="optimizer, backend or kernels, where plugins share the name."),
]  # fmt: skip
Reference = Annotated[
    Path | None,
    typer.Option("--reference", metavar="FILE", show_default=False,
                 help="JSON with a trajectory that the optimizer must follow: param, grads, "
                 "params."),
]  # fmt: skip
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", metavar="", help="Show where a rule failed.")
]


def check_plugin(
    name: Name, kind: Kind = None, reference: Reference = None, verbose: Verbose = False,
    debug: options.Debug = False,
) -> None:  # fmt: skip
    """Check an installed plugin against every rule of its contract."""
    from agnostic_dl.errors import ConformanceError

    try:
        report = check(name, kind, reference)
    except ConformanceError as error:
        report = error.report  # type: ignore[attr-defined]
    typer.echo(str(report))
    if verbose:
        for finding in report.failures:
            typer.echo(f"\n{finding.rule}\n{finding.details}")
    if not report.passed:
        raise typer.Exit(1)


def check(name: str, kind: str | None = None, reference: Path | None = None) -> Any:
    """The report of the kit for that kind of plugin, or ConformanceError."""
    # By name: the kits stand above this floor, as everything that only plugin authors need.
    testing = import_module("agnostic_dl.testing")
    chosen = kind or kind_of(name)
    if chosen == "optimizer":
        return testing.check_optimizer(name, reference=reference)
    return {"backend": testing.check_backend, "kernels": testing.check_kernels}[chosen](name)


def kind_of(name: str) -> str:
    """The kind of the one installed plugin of that name."""
    from agnostic_dl import plugins
    from agnostic_dl.errors import UnknownNameError, UsageError

    kinds = sorted({info.kind for info in plugins.list_plugins() if info.name == name})
    if len(kinds) > 1:
        raise UsageError(f"{name!r} is the name of several plugins: say --kind {kinds[0]}, ...")
    if not kinds:
        known = ", ".join(sorted({info.name for info in plugins.list_plugins()})) or "none"
        raise UnknownNameError(f"no plugin {name!r} is installed. Installed: {known}.")
    return kinds[0]
