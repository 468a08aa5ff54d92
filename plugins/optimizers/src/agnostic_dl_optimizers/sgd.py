"""SGD: stochastic gradient descent.

    θ ← θ - α g

Source: Robbins and Monro, "A Stochastic Approximation Method", 1951.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.extend import Optimizer, hookimpl


@dataclass(frozen=True)
class SGD(Optimizer):
    """A step of *learning_rate* against the gradient."""

    elementwise = True

    learning_rate: Any = 1e-2

    def update(
        self, xp: Any, param: Any, grad: Any, state: dict[str, Any], *, learning_rate: Any
    ) -> tuple[Any, dict[str, Any]]:
        return param - learning_rate * grad, state


@hookimpl
def agnostic_dl_optimizers() -> Mapping[str, type[Optimizer]]:
    return {"sgd": SGD}
