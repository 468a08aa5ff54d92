"""A kernel as plans want it: everything but the computation done once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from agnostic_dl.extend import Instruction
from agnostic_dl_numpy import scratch
from agnostic_dl_numpy.plan import Call, Kernel, same_memory
from agnostic_dl_numpy.threads import thread_count
from agnostic_dl_onednn import library
from agnostic_dl_onednn.library import OneDNNError
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
        """Calls on memories made for these arrays; None: the function declines them.

        What it declines because an array does not lie in order is laid out at each call.
        """
        calls = self._calls(instruction, operands, outs)
        if calls is not None:
            return self._call([], calls, instruction, operands, outs)
        plain = [_in_order(a) for a in operands]
        calls = self._calls(instruction, plain, outs)
        if calls is None:
            return None
        pairs = [(p, a) for p, a in zip(plain, operands, strict=True) if p is not a]
        orders = [partial(np.copyto, p, a) for p, a in pairs]
        return self._call(orders, calls, instruction, plain, outs)

    def _calls(
        self, instruction: Instruction, operands: list[Any], outs: list[Any]
    ) -> list[Call] | None:
        with scratch.into(outs), collecting() as calls:
            made = self.function(None, *operands, **instruction.static)
        if made is NotImplemented:
            return None
        made = made if isinstance(made, tuple) else (made,)
        return calls if all(same_memory(a, o) for a, o in zip(made, outs, strict=True)) else None

    def _call(
        self, orders: list[Call], calls: list[Call], instruction: Instruction,
        operands: list[Any], outs: list[Any],
    ) -> Call:  # fmt: skip
        count = thread_count()

        def call() -> None:
            parts = calls
            if thread_count() != count:  # pinned meanwhile: a primitive is for its number
                parts = self._calls(instruction, operands, outs) or _refuse(instruction)
            library.threads()
            with turn:
                for part in (*orders, *parts):
                    part()

        return call


class Paired(Bound):
    """One of two functions that hand over something in the library's own form: plans bind both.

    For arrays that a rule has let through neither declines. Eagerly both do, since nobody could
    tell what the other has taken.
    """

    def __call__(self, xp: Any, *arrays: Any, **static: Any) -> Any:
        """Declined."""
        return NotImplemented


def _refuse(instruction: Instruction) -> Any:
    raise OneDNNError(
        f"{instruction.op}: the library declines what it took before, with {thread_count()} "
        f"threads; leave the plugin out with kernels=() or $AGNOSTIC_DL_KERNELS"
    )


def _in_order(array: Any) -> Any:
    """The array, or memory for one that lies in order."""
    if not isinstance(array, np.ndarray) or array.flags.c_contiguous:
        return array
    return np.empty(array.shape, array.dtype)
