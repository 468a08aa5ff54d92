"""NAdam: Adam with Nesterov's look-ahead, whose momentum warms up.

    μₜ = β₁ (1 - ½ · 0.96^(t ψ))       π ← π μₜ  (π starts at 1)
    m ← β₁ m + (1 - β₁) g              v ← β₂ v + (1 - β₂) g²
    θ ← θ - α (μₜ₊₁ m / (1 - π μₜ₊₁) + (1 - μₜ) g / (1 - π)) / (√v̂ + ε)      v̂ = v / (1 - β₂ᵗ)

Source: Dozat, "Incorporating Nesterov Momentum into Adam", ICLR 2016 workshop, with PyTorch's
defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.extend import Optimizer, hookimpl


@dataclass(frozen=True)
class NAdam(Optimizer):
    """NAdam with the momentum's schedule *momentum_decay* (ψ)."""

    elementwise = True

    learning_rate: Any = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum_decay: float = 4e-3

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        zeros = xp.zeros_like(param)
        # π is one number for all elements; of param's shape, so that it may lie beside m and v.
        return {"m": zeros, "v": zeros, "product": xp.ones_like(param)}

    def scalars(self, learning_rate: Any, step: Any) -> dict[str, Any]:
        return {
            "learning_rate": learning_rate,
            "root": (1 - self.beta2**step) ** 0.5,
            "now": self.beta1 * (1 - 0.5 * 0.96 ** (step * self.momentum_decay)),
            "ahead": self.beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * self.momentum_decay)),
        }

    def update(
        self, xp: Any, param: Any, grad: Any, state: dict[str, Any], *,
        learning_rate: Any, root: Any, now: Any, ahead: Any,
    ) -> tuple[Any, dict[str, Any]]:  # fmt: skip
        m = self.beta1 * state["m"] + (1 - self.beta1) * grad
        v = self.beta2 * state["v"] + (1 - self.beta2) * xp.square(grad)
        product = now * state["product"]
        move = ahead * m / (1 - ahead * product) + (1 - now) * grad / (1 - product)
        new = param - learning_rate * move / (xp.sqrt(v) / root + self.eps)
        return new, {"m": m, "v": v, "product": product}


@hookimpl
def agnostic_dl_optimizers() -> Mapping[str, type[Optimizer]]:
    return {"nadam": NAdam}
