"""Runs a command and turns whatever goes wrong into one line on stderr and an exit code.

0: done. 1: wrong data, a missing device or library, a failed training. 2: wrong use. 130: Ctrl-C.
143: asked to terminate.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from agnostic_dl.cli.app import app
from agnostic_dl.cli.output import Interrupted, warn
from agnostic_dl.data.paths import show
from agnostic_dl.errors import AgnosticDLError, AgnosticDLWarning, UsageError

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""
    _forgive_encodings()
    try:
        code = _dispatch(arguments)
        if code == INTERRUPTED:  # what newer typers make of Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except SystemExit as error:  # a library's way to end: a closed pipe, say
        return error.code if isinstance(error.code, int) else FAILED
    except BrokenPipeError:
        return _closed_pipe()
    except (KeyboardInterrupt, typer.Abort, Interrupted) as error:
        code = getattr(error, "code", INTERRUPTED)
        return fail(f"interrupted; {error}" if str(error) else "interrupted", code)
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        return _report(error, arguments)


def _dispatch(arguments: list[str]) -> Any:
    with warnings.catch_warnings(), _terminated():
        if "--debug" not in arguments:  # a run that diverges says so itself, in one line
            warnings.simplefilter("ignore", RuntimeWarning)
        _say_our_own_warnings()
        code = typer.main.get_command(app).main(
            arguments, prog_name="agnostic-dl", standalone_mode=False
        )
    sys.stdout.flush()
    return code


def _say_our_own_warnings() -> None:
    """One line for each of the library's warnings; all others look as Python has them."""
    plain = warnings.showwarning

    def show_warning(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, AgnosticDLWarning):
            warn(str(message))
        else:
            plain(message, category, *where, **more)

    warnings.simplefilter("always", AgnosticDLWarning)
    warnings.showwarning = show_warning


@contextmanager
def _terminated() -> Iterator[None]:
    """In this context a request to terminate ends the command as Ctrl-C does, with its own code."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: Any) -> None:
        raise Interrupted(code=128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def fail(message: str, code: int) -> int:
    """Write one line, `error: ...`, on stderr and give the exit code back."""
    print(f"error: {show(' '.join(message.split()))}", file=sys.stderr)
    return code


def _report(error: Exception, arguments: list[str]) -> int:
    if isinstance(error, UsageError):
        return fail(str(error), MISUSED)
    if isinstance(error, AgnosticDLError):
        return fail(str(error), FAILED)
    if hasattr(error, "format_message"):  # the parser's own, of whichever Click typer brings
        return fail(f"{error.format_message()} {_hint(error)}", getattr(error, "exit_code", 2))
    if isinstance(error, OSError) and error.strerror:
        where = "output" if error.filename is None else error.filename
        return fail(f"{where}: {error.strerror.lower()}", FAILED)
    if isinstance(error, MemoryError):
        return fail(f"out of memory: {error}; choose a smaller --batch-size or images", FAILED)
    note = "" if "--debug" in arguments else "; run again with --debug to see where"
    return fail(f"unexpected {type(error).__name__}: {error}{note}", FAILED)


def _hint(error: Any) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "agnostic-dl"
    return f"(see {path} --help)"


def _forgive_encodings() -> None:
    """A terminal or file that cannot show a character gets a question mark instead."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _closed_pipe() -> int:
    """The reader of our output has gone: say nothing more, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
