"""LAMB: Adam's direction, scaled in each layer to the norm of its weights.

    m ← β₁ m + (1 - β₁) g              v ← β₂ v + (1 - β₂) g²
    u = m̂ / (√v̂ + ε) + λ θ             m̂ = m / (1 - β₁ᵗ),  v̂ = v / (1 - β₂ᵗ)
    θ ← θ - α · ‖θ‖ / ‖u‖ · u           the ratio is 1 where either norm is 0

Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
ICLR 2020, algorithm 2 with φ(z) = z; defaults of optax.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.extend import Optimizer, hookimpl


@dataclass(frozen=True)
class LAMB(Optimizer):
    """LAMB with decay *weight_decay* (λ). Not elementwise: it needs each array's norm."""

    learning_rate: Any = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-6
    weight_decay: float = 0.0

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        return {"m": xp.zeros_like(param), "v": xp.zeros_like(param)}

    def scalars(self, learning_rate: Any, step: Any) -> dict[str, Any]:
        return {
            "learning_rate": learning_rate,
            "rise": 1 / (1 - self.beta1**step),
            "root": (1 - self.beta2**step) ** 0.5,
        }

    def update(
        self, xp: Any, param: Any, grad: Any, state: dict[str, Any], *,
        learning_rate: Any, rise: Any, root: Any,
    ) -> tuple[Any, dict[str, Any]]:  # fmt: skip
        m = self.beta1 * state["m"] + (1 - self.beta1) * grad
        v = self.beta2 * state["v"] + (1 - self.beta2) * xp.square(grad)
        move = rise * m / (xp.sqrt(v) / root + self.eps) + self.weight_decay * param
        length, stride = xp.sqrt(xp.sum(xp.square(param))), xp.sqrt(xp.sum(xp.square(move)))
        one = xp.ones_like(stride)
        both = xp.logical_and(length > 0, stride > 0)
        trust = xp.where(both, length / xp.where(both, stride, one), one)
        return param - learning_rate * trust * move, {"m": m, "v": v}


@hookimpl
def agnostic_dl_optimizers() -> Mapping[str, type[Optimizer]]:
    return {"lamb": LAMB}
