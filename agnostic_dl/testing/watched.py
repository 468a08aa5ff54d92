"""Arrays whose values must not be looked at: what an optimizer sees inside somebody else's jit."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from agnostic_dl.autograd.operators import ArrayObject
from agnostic_dl.primitives import PRIMITIVES, Primitive
from agnostic_dl.testing.report import Broken


def _refuse(self: Any, *_: Any) -> Any:
    raise Broken(
        "a value was looked at (bool, float, int, an if or a Python max): inside a jit there is "
        "none; use xp.where, and plain arithmetic in scalars"
    )


class Watched(ArrayObject):
    """An array that computes, but does not tell what it holds and cannot be written to."""

    __slots__ = ("data",)
    requires_grad = False

    def __init__(self, array: Any) -> None:
        self.data = array

    def trace(self, primitive: Primitive, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """Compute on what is held, and hold the result."""
        return watch(primitive.run(tuple(plain(arg) for arg in args), static))

    def __setitem__(self, key: Any, value: Any) -> None:
        raise Broken("an array was assigned to in place: return a new one")

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        from agnostic_dl.primitives import library_of

        return WatchedNamespace(library_of("watched", (self.data,))[1])

    __bool__ = __float__ = __int__ = __index__ = __complex__ = _refuse
    __array__ = _refuse  # type: ignore[assignment]


def watch(value: Any) -> Any:
    """Arrays in *value*, also in tuples, as Watched."""
    if isinstance(value, (tuple, list)):
        return type(value)(watch(item) for item in value)
    if isinstance(value, Watched) or not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return value
    return Watched(value)


def plain(value: Any) -> Any:
    """The arrays themselves."""
    if isinstance(value, (tuple, list)):
        return type(value)(plain(item) for item in value)
    return value.data if isinstance(value, Watched) else value


class WatchedNamespace:
    """A library's namespace from Watched to Watched."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.__name__ = f"watched({library.__name__})"

    def __getattr__(self, name: str) -> Any:
        value: Any = PRIMITIVES.get(name) or getattr(self._library, name)
        if isinstance(value, ModuleType):
            return WatchedNamespace(value)
        if callable(value) and not isinstance(value, type):
            return lambda *args, **options: watch(
                value(*plain(args), **{key: plain(item) for key, item in options.items()})
            )
        return value
