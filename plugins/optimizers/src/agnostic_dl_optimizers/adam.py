"""Adam: steps by the ratio of running moments of the gradient.

    m ← β₁ m + (1 - β₁) g              v ← β₂ v + (1 - β₂) g²
    θ ← θ - α · m̂ / (√v̂ + ε)          m̂ = m / (1 - β₁ᵗ),  v̂ = v / (1 - β₂ᵗ)

and with `efficient=True`, the order of computation at the end of the paper's section 2, whose
ε̂ is added to the uncorrected √v:

    θ ← θ - αₜ · m / (√v + ε̂)         αₜ = α √(1 - β₂ᵗ) / (1 - β₁ᵗ)

The first is computed in that order as well, with ε̂ = ε √(1 - β₂ᵗ): the same formula, and fewer
passes over the arrays.

Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.extend import Optimizer, hookimpl


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with the paper's defaults; *efficient* takes *eps* as the paper's ε̂."""

    elementwise = True

    learning_rate: Any = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    efficient: bool = False

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        return {"m": xp.zeros_like(param), "v": xp.zeros_like(param)}

    def scalars(self, learning_rate: Any, step: Any) -> dict[str, Any]:
        root = (1 - self.beta2**step) ** 0.5
        size = learning_rate * root / (1 - self.beta1**step)
        return {"size": size, "eps": self.eps if self.efficient else self.eps * root}

    def update(
        self, xp: Any, param: Any, grad: Any, state: dict[str, Any], *, size: Any, eps: Any
    ) -> tuple[Any, dict[str, Any]]:
        m = self.beta1 * state["m"] + (1 - self.beta1) * grad
        v = self.beta2 * state["v"] + (1 - self.beta2) * xp.square(grad)
        if param.dtype == getattr(xp, "float16", None):  # there it may be 0, and 0 / 0 is NaN
            eps = xp.maximum(eps, 2.0**-24)
        return param - size * (m / (xp.sqrt(v) + eps)), {"m": m, "v": v}


@hookimpl
def agnostic_dl_optimizers() -> Mapping[str, type[Optimizer]]:
    return {"adam": Adam}
