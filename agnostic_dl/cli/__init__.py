"""The command line: ``agnostic-dl``. Each command has a file of its own in this folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_EXTRA = ("typer", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on *arguments* (those of the process) and return the exit code."""
    try:
        from agnostic_dl.cli.running import run
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _EXTRA:
            raise
        print(
            f"error: the command line needs {error.name}, which is not installed: install "
            "agnostic-dl with its extra 'cli' (pip install \"agnostic-dl[cli]\"; from a clone, "
            'pip install ".[cli]")',
            file=sys.stderr,
        )
        return 1
    return run(list(sys.argv[1:] if arguments is None else arguments))
