"""RAdam: Adam that takes plain momentum steps until the variance of its step size is tractable.

    m ← β₁ m + (1 - β₁) g              v ← β₂ v + (1 - β₂) g²
    ρₜ = ρ∞ - 2 t β₂ᵗ / (1 - β₂ᵗ)       ρ∞ = 2 / (1 - β₂) - 1
    θ ← θ - α m̂ · r √(1 - β₂ᵗ) / (√v + ε)   where ρₜ > 5, else   θ ← θ - α m̂
    r = √((ρₜ - 4) (ρₜ - 2) ρ∞ / ((ρ∞ - 4) (ρ∞ - 2) ρₜ))      m̂ = m / (1 - β₁ᵗ)

Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", ICLR 2020,
algorithm 2, with PyTorch's threshold (5) and defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.extend import Optimizer, hookimpl


@dataclass(frozen=True)
class RAdam(Optimizer):
    """Rectified Adam."""

    elementwise = True

    learning_rate: Any = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        return {"m": xp.zeros_like(param), "v": xp.zeros_like(param)}

    def scalars(self, learning_rate: Any, step: Any) -> dict[str, Any]:
        limit = 2 / (1 - self.beta2) - 1
        decayed = self.beta2**step
        rho = limit - 2 * step * decayed / (1 - decayed)
        # |·| keeps the root real where it is not used; no branch, for step may be an array.
        ratio = abs((rho - 4) * (rho - 2) * limit) / abs((limit - 4) * (limit - 2) * rho)
        return {
            "size": learning_rate / (1 - self.beta1**step),
            "rectified": (ratio * (1 - decayed)) ** 0.5,
            "excess": rho - 5,
        }

    def update(
        self, xp: Any, param: Any, grad: Any, state: dict[str, Any], *,
        size: Any, rectified: Any, excess: Any,
    ) -> tuple[Any, dict[str, Any]]:  # fmt: skip
        m = self.beta1 * state["m"] + (1 - self.beta1) * grad
        v = self.beta2 * state["v"] + (1 - self.beta2) * xp.square(grad)
        adaptive = rectified / (xp.sqrt(v) + self.eps)
        factor = xp.where(excess > 0, adaptive, xp.ones_like(adaptive))
        return param - size * m * factor, {"m": m, "v": v}


@hookimpl
def agnostic_dl_optimizers() -> Mapping[str, type[Optimizer]]:
    return {"radam": RAdam}
