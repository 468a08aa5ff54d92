"""What the commands print on: colours and a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agnostic_dl.data.paths import show


class Interrupted(Exception):
    """A signal, Ctrl-C mostly, has ended the work; the message says what was kept."""

    def __init__(self, message: str = "", code: int = 130) -> None:
        super().__init__(message)
        self.code = code


def console() -> Console:
    """The console on stdout: without a terminal neither colours nor control characters."""
    if is_terminal():
        return Console(highlight=False)
    width = int(os.environ["COLUMNS"]) if os.environ.get("COLUMNS", "").isdecimal() else 100
    return Console(
        highlight=False, force_terminal=False, force_interactive=False, color_system=None,
        width=max(width, 40),
    )  # fmt: skip


def is_terminal() -> bool:
    """Whether stdout can show a display that changes."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown", "")


def warn(message: str) -> None:
    """One line on stderr that is not an error."""
    print(f"note: {show(message)}", file=sys.stderr)


def table(*columns: str, title: str | None = None, numbers: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns in *numbers* are set to the right."""
    made = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for column in columns:
        right = column in numbers
        made.add_column(column, justify="right" if right else "left", no_wrap=right)
    return made


def name(text: Any) -> Text:
    """A name from outside (class, file, plugin) as it may be shown: never markup or control."""
    return Text(show(str(text)))


def percent(share: float) -> str:
    """A share as people read it: 98.3 %."""
    return f"{100 * share:.1f} %"


def clock(seconds: float) -> str:
    """A duration: 0:07, 12:34, 1:02:03."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
