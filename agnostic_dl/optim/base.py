"""Optimizer: the base class of every optimizer plugin."""

from __future__ import annotations

from typing import Any, ClassVar


class Optimizer:
    """An update rule: a frozen dataclass of hyperparameters with pure methods on one array.

    A subclass has a field `learning_rate` (a number or a schedule) and the methods `init` and
    `update`. *elementwise* declares that the update treats every element alike, wherever it stands,
    and that zeros stay finite: such updates may be run on flat buffers and fused.
    """

    elementwise: ClassVar[bool] = False
    learning_rate: Any

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        """The state before the first step: arrays of param's shape, or 0-d, by name."""
        return {}

    def scalars(self, learning_rate: Any, step: Any) -> dict[str, Any]:
        """What is the same for every element in step number *step*, which counts from 1.

        Called once per step with Python floats; `update` receives, by keyword, those that it
        declares, as 0-d arrays of param's real dtype. Plain arithmetic only.
        """
        return {"learning_rate": learning_rate, "step": step}

    def update(
        self, xp: Any, param: Any, grad: Any, state: dict[str, Any], **scalars: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The new param and the new state; pure: no argument is written to."""
        raise NotImplementedError
