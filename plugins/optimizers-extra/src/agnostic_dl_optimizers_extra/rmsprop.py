"""RMSprop: the gradient divided by a running root mean square of itself.

    v ← ρ v + (1 - ρ) g²
    s = √v + ε                        or, centered: s = √(v - ḡ²) + ε,  ḡ ← ρ ḡ + (1 - ρ) g
    b ← μ b + g / s
    θ ← θ - α b

Sources: Tieleman and Hinton, "Lecture 6.5: RMSprop", 2012; centered: Graves, "Generating Sequences
With Recurrent Neural Networks", 2013. Defaults of PyTorch, whose name for ρ is alpha.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.extend import Optimizer, hookimpl


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop with decay *alpha* (ρ), heavy-ball *momentum* (μ), and *centered*."""

    elementwise = True

    learning_rate: Any = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        names = ["v", *["mean"] * self.centered, *["velocity"] * (self.momentum > 0)]
        return {name: xp.zeros_like(param) for name in names}

    def update(
        self, xp: Any, param: Any, grad: Any, state: dict[str, Any], *, learning_rate: Any
    ) -> tuple[Any, dict[str, Any]]:
        v = self.alpha * state["v"] + (1 - self.alpha) * xp.square(grad)
        new, spread = {"v": v}, v
        if self.centered:
            new["mean"] = self.alpha * state["mean"] + (1 - self.alpha) * grad
            spread = v - xp.square(new["mean"])
        ahead = grad / (xp.sqrt(spread) + self.eps)
        if self.momentum > 0:
            ahead = new["velocity"] = self.momentum * state["velocity"] + ahead
        return param - learning_rate * ahead, new


@hookimpl
def agnostic_dl_optimizers() -> Mapping[str, type[Optimizer]]:
    return {"rmsprop": RMSprop}
