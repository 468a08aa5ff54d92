"""The primitives in pure Array API: the reference that every accelerated kernel must equal."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

from agnostic_dl.primitives import (
    activation,
    casting,
    classification,
    complex_numbers,
    contraction,
    convolution,
    cumulative,
    elementwise,
    fourier,
    indexing,
    linear_algebra,
    logic,
    manipulation,
    noise,
    normalization,
    norms,
    pooling,
    reduction,
    searching,
    spectral,
    storage,
    transcendental,
)
from agnostic_dl.primitives.definition import Primitive, Traced, library_of, primitive, zero

__all__ = ["PRIMITIVES", "Primitive", "Traced", "library_of", "operations", "primitive", "zero"]

_ROOMS = (
    elementwise, complex_numbers, casting, transcendental, logic, reduction, cumulative, searching,
    indexing, manipulation, contraction, linear_algebra, norms, spectral, fourier, convolution,
    pooling, normalization, activation, classification, noise, storage,
)  # fmt: skip

#: Every primitive of the core by name; those of the standard's extensions as "linalg.inv".
PRIMITIVES: dict[str, Primitive] = {
    value.name: value
    for room in _ROOMS
    for value in vars(room).values()
    if isinstance(value, Primitive)
}


class Operations:
    """The namespace of primitives over one library: what the rules of differentiation compute with.

    A name is that primitive if there is one, else the library's own (dtypes, constants, creation).
    The standard's extensions are namespaces of the same kind: `linalg`, `fft`.
    """

    def __init__(self, library: Any, extension: str = "") -> None:
        self.library = library
        self.extension = extension
        prefix = f"{extension}." if extension else ""
        for name, value in PRIMITIVES.items():
            if name.startswith(prefix) and "." not in name[len(prefix) :]:
                setattr(self, name[len(prefix) :], value)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.library, name)
        if self.extension and name in PRIMITIVES:  # linalg.matmul is matmul
            value = PRIMITIVES[name]
        elif isinstance(value, ModuleType) and not self.extension:
            value = Operations(value, extension=name)
        setattr(self, name, value)
        return value


@cache
def operations(library: Any) -> Operations:
    """The namespace of primitives over *library*, made once."""
    return Operations(library)
