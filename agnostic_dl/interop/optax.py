"""Optimizers of this library's plugins as real ``optax.GradientTransformation``s."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, NamedTuple

from agnostic_dl.errors import UsageError
from agnostic_dl.interop.plugin import framework, make, refuse_schedule
from agnostic_dl.optim.raw import raw_update, scalar_arrays

__all__ = ["PluginState", "transform"]


class PluginState(NamedTuple):
    """How many steps were made, and the optimizer's state of each leaf of the parameters."""

    count: Any
    slots: Any


def transform(name: Any, **hyper: Any) -> Any:
    """An ``optax.GradientTransformation`` that updates by the plugin called *name*.

    *hyper*: the plugin's hyperparameters; `learning_rate` may be an optax schedule, and any of
    them an array, as `optax.inject_hyperparams` gives them to a function with named arguments
    that calls this one. `update` needs the parameters. Works under `jax.jit` and in `optax.chain`;
    as the updates hold the learning rate and the sign, it stands last in a chain.

    >>> # optax.chain(optax.clip_by_global_norm(1.0), adl.interop.optax.transform("lion"))
    """
    optax, jax = framework("optax"), framework("jax")
    arrays = {key: value for key, value in hyper.items() if hasattr(value, "dtype")}
    fixed = {key: value for key, value in hyper.items() if key not in arrays}
    plugin = make(name, fixed, "optax.transform")
    if unknown := [key for key in arrays if key not in {f.name for f in _fields(plugin)}]:
        raise UsageError(f"{type(plugin).__name__} has no hyperparameter {', '.join(unknown)}")
    rate = arrays.pop("learning_rate", plugin.learning_rate)
    refuse_schedule(rate, "an optax schedule")
    if arrays:
        plugin = copy.copy(plugin)
        for key, value in arrays.items():
            object.__setattr__(plugin, key, value)  # a copy that nobody else has seen
    return optax.GradientTransformation(*_functions(jax, plugin, rate))


def _fields(plugin: Any) -> Any:
    return dataclasses.fields(plugin)


def _functions(jax: Any, plugin: Any, rate: Any) -> tuple[Any, Any]:
    xp = jax.numpy

    def init(params: Any) -> PluginState:
        leaves = jax.tree.leaves(params)
        return PluginState(xp.zeros((), xp.int32), tuple(plugin.init(xp, p) for p in leaves))

    def update(updates: Any, state: PluginState, params: Any = None) -> tuple[Any, PluginState]:
        if params is None:
            raise UsageError("the parameters are needed as well: update(grads, state, params)")
        learning_rate = rate(state.count) if callable(rate) else rate
        count = state.count + 1
        leaves, form = jax.tree.flatten(params)
        moves, slots = [], []
        for param, grad, slot in zip(leaves, form.flatten_up_to(updates), state.slots, strict=True):
            # In the widest floating dtype there is: 1 - βᵗ needs all the places it can get.
            wide = xp.result_type(float)
            numbers = scalar_arrays(
                plugin, xp, xp.asarray(learning_rate, wide), count.astype(wide),
                xp.finfo(param.dtype).dtype,
            )  # fmt: skip
            new, slot = raw_update(plugin, xp, param, grad, slot, numbers)
            moves.append(new - param)
            slots.append(slot)
        return jax.tree.unflatten(form, moves), PluginState(count, tuple(slots))

    return init, update
