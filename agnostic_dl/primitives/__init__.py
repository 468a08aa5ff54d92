"""The primitives in pure Array API: the reference that every accelerated kernel must equal."""

from __future__ import annotations

from functools import cache
from typing import Any

from agnostic_dl.primitives import (
    activation,
    classification,
    contraction,
    convolution,
    elementwise,
    manipulation,
    noise,
    normalization,
    pooling,
    reduction,
)
from agnostic_dl.primitives.definition import Primitive, Traced, library_of, primitive, zero

__all__ = ["PRIMITIVES", "Primitive", "Traced", "library_of", "operations", "primitive", "zero"]

_ROOMS = (
    elementwise, reduction, manipulation, contraction, convolution, pooling, normalization,
    activation, classification, noise,
)  # fmt: skip

#: Every primitive of the core by name.
PRIMITIVES: dict[str, Primitive] = {
    name: value
    for room in _ROOMS
    for name, value in vars(room).items()
    if isinstance(value, Primitive)
}


class Operations:
    """The namespace of primitives over one library: what the rules of differentiation compute with.

    A name is that primitive if there is one, else the library's own (dtypes, constants, creation).
    """

    def __init__(self, library: Any) -> None:
        self.library = library
        vars(self).update(PRIMITIVES)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.library, name)
        setattr(self, name, value)
        return value


@cache
def operations(library: Any) -> Operations:
    """The namespace of primitives over *library*, made once."""
    return Operations(library)
