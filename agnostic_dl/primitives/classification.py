"""Softmax cross-entropy with integer labels."""

from __future__ import annotations

from typing import Any

from agnostic_dl.primitives.definition import primitive, zero


@primitive(differentiable=False)
def one_hot(xp: Any, labels: Any, *, classes: int, dtype: Any) -> Any:
    """Integer labels (...) → (..., classes): 1 at the label, else 0."""
    from array_api_compat import device

    columns = xp.arange(classes, dtype=labels.dtype, device=device(labels))
    return xp.astype(xp.equal(xp.expand_dims(labels, axis=-1), columns), dtype)


@primitive
def softmax_cross_entropy(xp: Any, logits: Any, labels: Any) -> Any:
    """-log softmax(logits)[label] for each example: logits (N, K), integer labels (N,) → (N,)."""
    shifted = xp.subtract(logits, xp.max(logits, axis=-1, keepdims=True))
    total = xp.log(xp.sum(xp.exp(shifted), axis=-1))
    chosen = one_hot(labels, classes=logits.shape[-1], dtype=logits.dtype)
    return xp.subtract(total, xp.sum(xp.multiply(shifted, chosen), axis=-1))


@primitive
def softmax_cross_entropy_grad(xp: Any, g: Any, logits: Any, labels: Any) -> Any:
    """Adjoint of softmax_cross_entropy: g (N,) → (softmax(logits) - one_hot(labels)) · g."""
    shifted = xp.subtract(logits, xp.max(logits, axis=-1, keepdims=True))
    unnormalised = xp.exp(shifted)
    chosen = one_hot(labels, classes=logits.shape[-1], dtype=logits.dtype)
    probabilities = xp.divide(unnormalised, xp.sum(unnormalised, axis=-1, keepdims=True))
    return xp.multiply(xp.subtract(probabilities, chosen), xp.expand_dims(g, axis=-1))


softmax_cross_entropy.defvjp(
    lambda xp, g, out, logits, labels: xp.softmax_cross_entropy_grad(g, logits, labels),
    zero,
    keeps=["logits", "labels"],
)
softmax_cross_entropy_grad.defvjp_composed()
