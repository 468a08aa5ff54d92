"""AdaGrad: each element's step shrinks with the gradients that it has seen.

    s ← s + g²
    θ ← θ - α g / (√s + ε)

Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
Optimization", JMLR 12, 2011.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.extend import Optimizer, hookimpl


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """AdaGrad with PyTorch's defaults."""

    elementwise = True

    learning_rate: Any = 1e-2
    eps: float = 1e-10

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        return {"sum": xp.zeros_like(param)}

    def update(
        self, xp: Any, param: Any, grad: Any, state: dict[str, Any], *, learning_rate: Any
    ) -> tuple[Any, dict[str, Any]]:
        total = state["sum"] + xp.square(grad)
        return param - learning_rate * grad / (xp.sqrt(total) + self.eps), {"sum": total}


@hookimpl
def agnostic_dl_optimizers() -> Mapping[str, type[Optimizer]]:
    return {"adagrad": AdaGrad}
