"""JAX's steps on the same rows: one jitted function that is given its own state to overwrite."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import agnostic_dl as adl
from peers.jax_models import Arrays, twin
from peers.rows import Problem, Row, problem, tensors, way
from peers.steps import Step, of_loss, of_update

#: (parameters, gradients, slots) → (parameters, slots).
Update = Callable[[Arrays, Arrays, Any], tuple[Arrays, Any]]


def step(row: Row, make: Callable[[Row], Problem] = problem) -> Step:
    """The row's step."""
    if row.update_only:
        return _update(row)
    with adl.use_backend("numpy", kernels=()):
        model, x, y = make(row)
    params, statistics, forward = twin(model)
    start, update = OPTIMIZERS[row.optimizer](row.rate)
    jitted = _training(forward, update)
    state = (params, statistics, start(params))
    images, labels = jnp.asarray(x), jnp.asarray(y, jnp.int32)

    def loss() -> float:
        nonlocal state
        state, found = jitted(state, images, labels)
        return float(found)

    return of_loss(loss)


def _training(forward: Any, update: Update) -> Callable[..., Any]:
    """The step as one compiled function (state, images, labels) → (state, loss)."""

    def loss(params: Arrays, statistics: Arrays, images: Any, labels: Any) -> Any:
        out, statistics = forward(params, statistics, images)
        picked = jnp.take_along_axis(jax.nn.log_softmax(out), labels[:, None], axis=1)
        return -picked.mean(), statistics

    @partial(jax.jit, donate_argnums=0)
    def jitted(state: Any, images: Any, labels: Any) -> Any:
        params, statistics, slots = state
        (found, statistics), grads = jax.value_and_grad(loss, has_aux=True)(
            params, statistics, images, labels
        )
        params, slots = update(params, grads, slots)
        return (params, statistics, slots), found

    return jitted


def _update(row: Row) -> Step:
    first, gradients = tensors(row)
    start, update = OPTIMIZERS[row.optimizer](row.rate)
    params = {name: jnp.array(array) for name, array in first.items()}
    grads = {name: jnp.array(array) for name, array in gradients.items()}
    jitted = jax.jit(lambda state, grads: update(state[0], grads, state[1]), donate_argnums=0)
    state: Any = (params, start(params))

    def run() -> None:
        nonlocal state
        state = jax.block_until_ready(jitted(state, grads))

    return of_update(run, lambda: way(state[0], first))


# -- the optimizers, written out -------------------------------------------------------------------


def _zeros(params: Arrays) -> Arrays:
    return {name: jnp.zeros_like(array) for name, array in params.items()}


def adam(rate: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Any:
    """How its slots begin, and its update.

    Source: Kingma and Ba, "Adam", ICLR 2015, algorithm 1.
    """

    def start(params: Arrays) -> Any:
        return _zeros(params), _zeros(params), jnp.zeros(())

    def update(params: Arrays, grads: Arrays, slots: Any) -> tuple[Arrays, Any]:
        m, v, count = slots
        count = count + 1
        # 1 - b ** count without the cancellation that float32 would suffer from
        one, two = (-jnp.expm1(count * math.log(b)) for b in (b1, b2))
        m = {n: b1 * m[n] + (1 - b1) * g for n, g in grads.items()}
        v = {n: b2 * v[n] + (1 - b2) * g * g for n, g in grads.items()}
        size, root = rate / one, jnp.sqrt(two)
        new = {n: p - size * m[n] / (jnp.sqrt(v[n]) / root + eps) for n, p in params.items()}
        return new, (m, v, count)

    return start, update


def momentum(rate: float, share: float = 0.9) -> Any:
    """How its slots begin, and its update: PyTorch's SGD with momentum."""

    def update(params: Arrays, grads: Arrays, slots: Arrays) -> tuple[Arrays, Arrays]:
        slots = {n: share * slots[n] + g for n, g in grads.items()}
        return {n: p - rate * slots[n] for n, p in params.items()}, slots

    return _zeros, update


OPTIMIZERS: dict[str, Callable[[float], Any]] = {"adam": adam, "momentum": momentum}
