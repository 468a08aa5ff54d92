"""Activation functions."""

from __future__ import annotations

from typing import Any

from agnostic_dl.primitives.definition import primitive, zero


@primitive
def relu(xp: Any, x: Any) -> Any:
    """max(x, 0); its derivative at 0 is 0."""
    return xp.maximum(x, xp.zeros_like(x))


@primitive
def relu_grad(xp: Any, g: Any, out: Any) -> Any:
    """Adjoint of relu, from its output: g where out > 0, else 0."""
    return xp.where(xp.greater(out, xp.zeros_like(out)), g, xp.zeros_like(g))


relu.defvjp(lambda xp, g, out, x: xp.relu_grad(g, out), keeps=["out"])
relu_grad.defvjp(lambda xp, t, _, g, out: xp.relu_grad(t, out), zero)


@primitive
def sigmoid(xp: Any, x: Any) -> Any:
    """1 / (1 + exp(-x)), by way of tanh, which does not overflow."""
    return xp.multiply(xp.add(xp.tanh(xp.multiply(x, 0.5)), 1.0), 0.5)


sigmoid.defvjp(
    lambda xp, g, out, x: xp.multiply(g, xp.multiply(out, xp.add(xp.negative(out), 1.0))),
    keeps=["out"],
)


@primitive
def softmax(xp: Any, x: Any, *, axis: int = -1) -> Any:
    """exp(x) / Σ exp(x) along the axis, without overflow."""
    unnormalised = xp.exp(xp.subtract(x, xp.max(x, axis=axis, keepdims=True)))
    return xp.divide(unnormalised, xp.sum(unnormalised, axis=axis, keepdims=True))


def _softmax_rule(xp: Any, g: Any, out: Any, x: Any, axis: int) -> Any:
    weighted = xp.multiply(g, out)
    return xp.subtract(weighted, xp.multiply(out, xp.sum(weighted, axis=axis, keepdims=True)))


softmax.defvjp(_softmax_rule, keeps=["out"])


@primitive
def log_softmax(xp: Any, x: Any, *, axis: int = -1) -> Any:
    """Logarithm of softmax, without overflow or underflow."""
    shifted = xp.subtract(x, xp.max(x, axis=axis, keepdims=True))
    total = xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))
    return xp.subtract(shifted, total)


log_softmax.defvjp(
    lambda xp, g, out, x, axis: xp.subtract(
        g, xp.multiply(xp.exp(out), xp.sum(g, axis=axis, keepdims=True))
    ),
    keeps=["out"],
)
