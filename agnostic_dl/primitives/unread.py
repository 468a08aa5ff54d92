"""What is left of arrays that went through a primitive and that its rules do not read.

The tape keeps what the way back needs. What a rule says that it does not need (`Primitive.defvjp`)
may be most of a step's memory: a convolution's result behind which a bias and a ReLU come is read
by none of the three.
"""

from __future__ import annotations

from typing import Any


class Unread:
    """What a rule finds in the place of an array that it does not read; see `Primitive.defvjp`."""

    __slots__ = ()


#: In the place of an output: the gradient has its shape and dtype.
UNREAD = Unread()


class Outline(Unread):
    """In the place of an argument: its shape and dtype."""

    __slots__ = ("dtype", "shape")

    def __init__(self, array: Any) -> None:
        self.shape, self.dtype = array.shape, array.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


def outline(array: Any) -> Outline:
    """The outline of an array: the last one again where it is the same, as often in a row."""
    global _last
    last = _last
    if last is not None and last.shape == array.shape and last.dtype is array.dtype:
        return last
    _last = last = Outline(array)
    return last


_last: Outline | None = None


def kept_outputs(keeps: frozenset[str | int] | None, outs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Of several outputs those whose numbers *keeps* has; None, or "out" in it: all."""
    if keeps is None or "out" in keeps:
        return outs
    kept: list[Any] = [out if k in keeps else UNREAD for k, out in enumerate(outs)]
    return type(outs)(*kept) if hasattr(outs, "_fields") else tuple(kept)
