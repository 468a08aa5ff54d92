"""AdamW: Adam whose weight decay acts on the weights, not through the gradient.

    m ← β₁ m + (1 - β₁) g              v ← β₂ v + (1 - β₂) g²
    θ ← θ - α λ θ - α · m̂ / (√v̂ + ε)   m̂ = m / (1 - β₁ᵗ),  v̂ = v / (1 - β₂ᵗ)

Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2,
with PyTorch's coupling of the decay to the learning rate, and its defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.extend import Optimizer, hookimpl


@dataclass(frozen=True)
class AdamW(Optimizer):
    """AdamW with decay *weight_decay* (λ)."""

    elementwise = True

    learning_rate: Any = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 1e-2

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        return {"m": xp.zeros_like(param), "v": xp.zeros_like(param)}

    def scalars(self, learning_rate: Any, step: Any) -> dict[str, Any]:
        root = (1 - self.beta2**step) ** 0.5  # put into both: one pass over the arrays less
        return {
            "size": learning_rate * root / (1 - self.beta1**step),
            "eps": self.eps * root,
            "shrink": learning_rate * self.weight_decay,
        }

    def update(
        self,
        xp: Any,
        param: Any,
        grad: Any,
        state: dict[str, Any],
        *,
        size: Any,
        eps: Any,
        shrink: Any,
    ) -> tuple[Any, dict[str, Any]]:
        m = self.beta1 * state["m"] + (1 - self.beta1) * grad
        v = self.beta2 * state["v"] + (1 - self.beta2) * xp.square(grad)
        if param.dtype == getattr(xp, "float16", None):  # there it may be 0, and 0 / 0 is NaN
            eps = xp.maximum(eps, 2.0**-24)
        move = shrink * param + size * (m / (xp.sqrt(v) + eps))
        return param - move, {"m": m, "v": v}


@hookimpl
def agnostic_dl_optimizers() -> Mapping[str, type[Optimizer]]:
    return {"adamw": AdamW}
