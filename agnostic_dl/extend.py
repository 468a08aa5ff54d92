"""The plugin author's door: all that a plugin needs to import from agnostic_dl."""

from agnostic_dl.backends import Backend
from agnostic_dl.errors import BackendUnavailable, UsageError
from agnostic_dl.hookspecs import hookimpl
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.primitives import PRIMITIVES, primitive, zero

__all__ = [
    "PRIMITIVES", "Backend", "BackendUnavailable", "Optimizer", "UsageError", "hookimpl",
    "primitive", "zero",
]  # fmt: skip
