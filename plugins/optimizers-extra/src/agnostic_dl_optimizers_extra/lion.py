"""Lion: a step of one size against the sign of a momentum.

    θ ← θ - α (sign(β₁ m + (1 - β₁) g) + λ θ)
    m ← β₂ m + (1 - β₂) g

Source: Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, program 1 and
its defaults. Its rates are 3 to 10 times smaller than Adam's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.extend import Optimizer, hookimpl


@dataclass(frozen=True)
class Lion(Optimizer):
    """Lion with decay *weight_decay* (λ) of the weights themselves."""

    elementwise = True

    learning_rate: Any = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        return {"m": xp.zeros_like(param)}

    def update(
        self, xp: Any, param: Any, grad: Any, state: dict[str, Any], *, learning_rate: Any
    ) -> tuple[Any, dict[str, Any]]:
        direction = xp.sign(self.beta1 * state["m"] + (1 - self.beta1) * grad)
        m = self.beta2 * state["m"] + (1 - self.beta2) * grad
        return param - learning_rate * (direction + self.weight_decay * param), {"m": m}


@hookimpl
def agnostic_dl_optimizers() -> Mapping[str, type[Optimizer]]:
    return {"lion": Lion}
