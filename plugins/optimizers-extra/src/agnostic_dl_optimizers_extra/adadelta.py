"""AdaDelta: steps whose size is learned from the steps before, without a unit of its own.

    v ← ρ v + (1 - ρ) g²
    Δ = √(u + ε) / √(v + ε) · g
    u ← ρ u + (1 - ρ) Δ²
    θ ← θ - α Δ

Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1 (there α = 1), with
PyTorch's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.extend import Optimizer, hookimpl


@dataclass(frozen=True)
class AdaDelta(Optimizer):
    """AdaDelta with decay *rho*."""

    elementwise = True

    learning_rate: Any = 1.0
    rho: float = 0.9
    eps: float = 1e-6

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        return {"v": xp.zeros_like(param), "u": xp.zeros_like(param)}

    def update(
        self, xp: Any, param: Any, grad: Any, state: dict[str, Any], *, learning_rate: Any
    ) -> tuple[Any, dict[str, Any]]:
        v = self.rho * state["v"] + (1 - self.rho) * xp.square(grad)
        delta = xp.sqrt(state["u"] + self.eps) / xp.sqrt(v + self.eps) * grad
        u = self.rho * state["u"] + (1 - self.rho) * xp.square(delta)
        return param - learning_rate * delta, {"v": v, "u": u}


@hookimpl
def agnostic_dl_optimizers() -> Mapping[str, type[Optimizer]]:
    return {"adadelta": AdaDelta}
