"""A switch that is off unless the environment turns it on, or a block of code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from agnostic_dl.extend import UsageError

_VALUES = {"": False, "0": False, "1": True}


class Switch:
    """What a variable of the environment says for a process, and a context for itself."""

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self._chosen: ContextVar[bool | None] = ContextVar(variable, default=None)

    def is_on(self) -> bool:
        """By the innermost :meth:`turned`, else by the environment."""
        chosen = self._chosen.get()
        if chosen is not None:
            return chosen
        value = os.environ.get(self.variable, "")
        if value not in _VALUES:
            raise UsageError(f"{self.variable} expects 0 or 1, got {value!r}")
        return _VALUES[value]

    @contextmanager
    def turned(self, on: bool) -> Iterator[None]:
        """On (or with False off) until the context ends, in this context only."""
        token = self._chosen.set(on)
        try:
            yield
        finally:
            self._chosen.reset(token)
