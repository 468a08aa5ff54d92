"""Muon: momentum whose matrix is made orthogonal by a few Newton-Schulz steps.

    b ← μ b + (1 - μ) g                u = μ b + (1 - μ) g  (Nesterov), else b
    X = u / max(‖u‖, ε), then five times:  A = X Xᵀ,  X ← a X + (b A + c A²) X
    θ ← θ - α λ θ - α √max(1, outputs / inputs) · X

An array of more than two axes is taken as the matrix (inputs, outputs) with all but the axis of the
outputs in one, as in a convolution's (kh, kw, in, out); one of fewer as a single row. Biases and
embeddings are better served by another optimizer: give the Engine an override.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024, with
PyTorch's defaults. PyTorch computes X in bfloat16, this in the parameter's own precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.extend import Optimizer, hookimpl


@dataclass(frozen=True)
class Muon(Optimizer):
    """Muon. *output_axis*: -1 for this library's weights (in, out), 0 for PyTorch's (out, in)."""

    learning_rate: Any = 1e-3
    momentum: float = 0.95
    nesterov: bool = True
    weight_decay: float = 0.1
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315)
    ns_steps: int = 5
    eps: float = 1e-7
    output_axis: int = -1

    def init(self, xp: Any, param: Any) -> dict[str, Any]:
        return {"velocity": xp.zeros_like(param)}

    def scalars(self, learning_rate: Any, step: Any) -> dict[str, Any]:
        return {"learning_rate": learning_rate, "shrink": learning_rate * self.weight_decay}

    def update(
        self,
        xp: Any,
        param: Any,
        grad: Any,
        state: dict[str, Any],
        *,
        learning_rate: Any,
        shrink: Any,
    ) -> tuple[Any, dict[str, Any]]:
        velocity = self.momentum * state["velocity"] + (1 - self.momentum) * grad
        blend = self.momentum * velocity + (1 - self.momentum) * grad
        inputs, outputs = self._sides(param.shape)
        rows_first = (inputs, outputs) if self.output_axis else (outputs, inputs)
        matrix = xp.reshape(blend if self.nesterov else velocity, rows_first)
        move = xp.reshape(self._orthogonal(xp, matrix), param.shape)
        scale = max(1.0, outputs / max(inputs, 1)) ** 0.5
        return param - (shrink * param + learning_rate * scale * move), {"velocity": velocity}

    def _sides(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Inputs and outputs of the matrix that the array stands for."""
        if not shape:
            return 1, 1
        outputs = shape[self.output_axis]
        others = shape[:-1] if self.output_axis else shape[1:]
        return math.prod(others), outputs

    def _orthogonal(self, xp: Any, x: Any) -> Any:
        """A matrix with the singular vectors of *x* and singular values near 1."""
        a, b, c = self.ns_coefficients
        tall = x.shape[0] > x.shape[1]
        x = xp.matrix_transpose(x) if tall else x
        x = x / xp.clip(xp.sqrt(xp.sum(xp.square(x))), min=self.eps)
        for _ in range(self.ns_steps):
            gram = xp.matmul(x, xp.matrix_transpose(x))
            x = a * x + xp.matmul(b * gram + c * xp.matmul(gram, gram), x)
        return xp.matrix_transpose(x) if tall else x


@hookimpl
def agnostic_dl_optimizers() -> Mapping[str, type[Optimizer]]:
    return {"muon": Muon}
