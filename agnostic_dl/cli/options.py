"""Options that several commands take, and how their texts are read."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from agnostic_dl.errors import AgnosticDLError, MissingExtraError, UsageError

Backend = Annotated[
    str | None,
    typer.Option(
        "--backend", metavar="NAME", help="Array library: numpy, or any other that is installed "
        "(see [bold]plugins list[/bold]). Default: $AGNOSTIC_DL_BACKEND, else numpy.",
        show_default=False,
    ),
]  # fmt: skip
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="Device of the backend, such as 1 for its "
                 "second.", show_default=False),
]  # fmt: skip
Debug = Annotated[
    bool, typer.Option("--debug", metavar="", help="On an error, show where it came from.")
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON, for programs.")]
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder that train has left.", show_default=False)
]

_LIBRARIES = {"safetensors": "safetensors", "matplotlib": "matplotlib", "PIL": "Pillow"}


def backend_name(backend: str | None, device: str | None) -> str | None:
    """Backend and device as one name, "cupy:1", as the library takes them; None: the current."""
    if device is None:
        return backend
    from agnostic_dl.backends import get_backend

    owner = get_backend(backend).name
    name = f"{owner}:{device.removeprefix(owner + ':')}"
    try:
        made = get_backend(name)
        made.xp.empty((1,), device=made.device)
    except AgnosticDLError:
        raise
    except Exception as error:  # every library has its own way to say that there is none
        raise UsageError(f"--device {device}: not a device of {owner}: {error}") from error
    return name


def image_size(text: str | None) -> tuple[int, int] | None:
    """The pair of "32x48" (height x width), or of "32", a square."""
    if text is None:
        return None
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) > 2 or not all(side.strip().isdecimal() and int(side) > 0 for side in sides):
        raise UsageError(f"--image-size: expected 32 or 32x48 (height x width), got {text!r}")
    return int(sides[0]), int(sides[-1])


def require_extra() -> None:
    """Refuse to start work whose result could not be written for want of a library."""
    missing = [name for module, name in _LIBRARIES.items() if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"not installed: {', '.join(missing)}; install agnostic-dl with its extra 'cli'"
        )
