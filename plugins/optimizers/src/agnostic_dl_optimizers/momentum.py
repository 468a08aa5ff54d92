"""Momentum: steps along a running sum of gradients.

    v ← μ v + g                       (v starts as the first gradient)
    θ ← θ - α v                       plain
    θ ← θ - α (g + μ v)               Nesterov's look-ahead

Sources: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Nesterov,
1983, in the form of Sutskever et al., "On the importance of initialization and momentum in deep
learning", ICML 2013, with the learning rate outside of v as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.extend import Optimizer, hookimpl


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Heavy-ball momentum *momentum*, or Nesterov's with *nesterov*."""

    elementwise = True

    learning_rate: Any = 1e-2
    momentum: float = 0.9
    nesterov: bool = False

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        return {"velocity": xp.zeros_like(param)}

    def update(
        self, xp: Any, param: Any, grad: Any, state: dict[str, Any], *, learning_rate: Any
    ) -> tuple[Any, dict[str, Any]]:
        velocity = self.momentum * state["velocity"] + grad
        ahead = grad + self.momentum * velocity if self.nesterov else velocity
        return param - learning_rate * ahead, {"velocity": velocity}


@hookimpl
def agnostic_dl_optimizers() -> Mapping[str, type[Optimizer]]:
    return {"momentum": Momentum}
