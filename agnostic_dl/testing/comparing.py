"""Results of two libraries side by side: how far apart may they be?"""

from __future__ import annotations

from typing import Any

from agnostic_dl.backend import Backend
from agnostic_dl.testing.calls import Call
from agnostic_dl.testing.determined import determined, is_open
from agnostic_dl.testing.report import Broken

#: dtype → the largest error allowed, relative to the largest number of the expected array.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "complex128": 1e-12, "complex64": 1e-5}


def compare(ours: Backend, what: str, got: Any, theirs: Backend, expected: Any) -> None:
    """Refuse another structure, shape, dtype or other numbers than *expected*."""
    same_form(what, got, expected)
    if isinstance(expected, tuple):
        for one, other in zip(got, expected, strict=True):
            compare(ours, what, one, theirs, other)
        return
    if not hasattr(expected, "dtype"):
        if got != expected:
            raise Broken(f"{what} returns {got!r}, expected {expected!r}")
        return
    allowed = TOLERANCE.get(dtype_name(expected.dtype), 0.0)
    gap = _gap(numbers(ours, got), numbers(theirs, expected), allowed)
    if gap is not None:
        raise Broken(f"{what} is off by {gap:.1e}, allowed is {allowed:.0e}")


def compare_call(ours: Backend, call: Call, got: Any, theirs: Backend, expected: Any) -> None:
    """As `compare`; of factors of matrices only what every library must agree on."""
    name = call.primitive.name
    if not is_open(name):
        compare(ours, str(call), got, theirs, expected)
        return
    same_form(str(call), got, expected)
    x = _as_of(theirs, ours, call.arrays[0])
    both = (determined(name, theirs.xp, x, _as_of(theirs, ours, out)) for out in (got, expected))
    compare(theirs, str(call), next(both), theirs, next(both))


def _as_of(theirs: Backend, ours: Backend, value: Any) -> Any:
    """An array of ours, or several, as the other backend's."""
    if isinstance(value, tuple):
        return tuple(_as_of(theirs, ours, item) for item in value)
    return value if isinstance(value, theirs.array_type) else theirs.asarray(ours.to_numpy(value))


def same_form(what: str, got: Any, expected: Any) -> None:
    """Refuse another structure, shape or dtype than *expected*."""
    if isinstance(expected, tuple):
        if not isinstance(got, tuple) or len(got) != len(expected):
            raise Broken(f"{what} returns {type(got).__name__}, expected {len(expected)} arrays")
        for one, other in zip(got, expected, strict=True):
            same_form(what, one, other)
    elif hasattr(expected, "dtype"):
        if tuple(got.shape) != tuple(expected.shape):
            raise Broken(f"{what} has shape {tuple(got.shape)}, expected {tuple(expected.shape)}")
        names = [dtype_name(a.dtype) for a in (got, expected)]
        if names[0] != names[1]:
            raise Broken(f"{what} is {names[0]}, expected {names[1]}")


def dtype_name(dtype: Any) -> str:
    """As the standard writes it, whatever the library."""
    name: str = str(getattr(dtype, "name", None) or dtype).rpartition(".")[2]
    return name


def numbers(backend: Backend, array: Any) -> Any:
    """A copy on the host."""
    host = backend.to_numpy(array)
    return host.copy() if hasattr(host, "copy") else host


def equal(a: Any, b: Any) -> bool:
    """To the bit."""
    same: bool = a.shape == b.shape and a.tobytes() == b.tobytes()
    return same


def _gap(got: Any, expected: Any, tolerance: float) -> float | None:
    """The largest error relative to the size of *expected*, if above; NaN equals NaN."""
    if got.dtype.kind in "biu":
        return None if equal(got, expected) else float("inf")
    wrong = (got != expected) & ~((got != got) & (expected != expected))
    if not wrong.any():
        return None
    finite = abs(expected[abs(expected) < float("inf")])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    gap = float(abs(got - expected)[wrong].max()) / scale
    return None if gap <= tolerance else gap
