"""A kernel as plans want it: everything but the computation done once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agnostic_dl.extend import Instruction
from agnostic_dl_numpy import scratch
from agnostic_dl_numpy.plan import Call, Kernel, same_memory
from agnostic_dl_numpy.threads import thread_count
from agnostic_dl_onednn import library
from agnostic_dl_onednn.primitive import collecting, turn


class Bound(Kernel):
    """A function of this plugin, which plans may bind to their arrays.

    Such a function computes by :func:`agnostic_dl_onednn.primitive.perform` alone.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, xp: Any, *arrays: Any, **static: Any) -> Any:
        """As the primitive, now."""
        return self.function(xp, *arrays, **static)

    def bind(self, instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call | None:
        """Calls on memories made for these arrays; None: the function declines them."""
        with scratch.into(outs), collecting() as calls:
            made = self.function(None, *operands, **instruction.static)
        if made is NotImplemented:
            return None
        made = made if isinstance(made, tuple) else (made,)
        if not all(same_memory(a, out) for a, out in zip(made, outs, strict=True)):
            return None
        count = thread_count()

        def call() -> None:
            if thread_count() != count:  # pinned meanwhile: a primitive is for its number
                with scratch.into(outs):
                    self.function(None, *operands, **instruction.static)
                return
            library.threads()
            with turn:
                for part in calls:
                    part()

        return call
