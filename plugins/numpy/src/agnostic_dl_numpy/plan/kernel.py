"""The fast door for kernels: bound once to the arrays of a plan, then called without arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agnostic_dl.extend import Instruction

#: One instruction of a plan with everything bound; what it computes is written, not returned.
Call = Callable[[], Any]


class Kernel:
    """Base of the kernels that plans bind; a subclass without `__call__` serves plans alone.

    It stands in a plugin's mapping under a primitive's name, or under ``CHAIN`` for chains of
    elementwise instructions (`static["code"]`).
    """

    def bind(self, instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call | None:
        """A call that reads *operands* (arrays and numbers) and writes *outs*; None: it declines.

        An output may be an operand's own memory where the plan updates in place: then the two are
        the same places, element for element.
        """
        raise NotImplementedError

    def __call__(self, xp: Any, *arrays: Any, **static: Any) -> Any:
        """As the primitive's forward, for eager steps; NotImplemented: it declines."""
        return NotImplemented
