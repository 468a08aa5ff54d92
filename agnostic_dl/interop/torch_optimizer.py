"""The class behind :func:`agnostic_dl.interop.torch.optimizer`; importing it imports torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import array_api_compat.torch as xp
import torch

from agnostic_dl.errors import UsageError
from agnostic_dl.interop.plugin import fields
from agnostic_dl.optim import Optimizer
from agnostic_dl.optim.raw import raw_update, scalar_arrays

#: Elements updated at a time where the optimizer is elementwise: what lies between stays in cache.
PIECE = 1 << 16


def rename_rate(hyper: Mapping[str, Any]) -> dict[str, Any]:
    """*hyper* with PyTorch's `lr` under this library's name."""
    if "lr" not in hyper:
        return dict(hyper)
    if "learning_rate" in hyper:
        raise UsageError("give the learning rate once, as learning_rate or as lr")
    return {("learning_rate" if key == "lr" else key): value for key, value in hyper.items()}


class PluginOptimizer(torch.optim.Optimizer):
    """Updates its parameters by an optimizer of this library, run on torch's own tensors."""

    def __init__(self, params: Any, plugin: Optimizer) -> None:
        self.plugin = plugin
        self._made: dict[Any, Optimizer] = {}
        defaults = fields(plugin)
        super().__init__(params, {"lr": defaults.pop("learning_rate"), **defaults})

    def __repr__(self) -> str:
        return f"{type(self.plugin).__name__}: {super().__repr__()}"

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "plugin": self.plugin, "_made": {}}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose hyperparameters must be ones that the optimizer has."""
        group = dict(param_group)
        if "learning_rate" in group:
            group["lr"] = group.pop("learning_rate")
        own = {"params", "lr", "initial_lr", "param_names", *fields(self.plugin)}
        unknown = sorted(set(group) - own)
        if unknown:
            raise UsageError(
                f"{type(self.plugin).__name__} has no hyperparameter {', '.join(unknown)}; it has: "
                f"lr, {', '.join(n for n in fields(self.plugin) if n != 'learning_rate')}"
            )
        super().add_param_group(group)

    def load_state_dict(self, state_dict: Any) -> None:
        """As PyTorch's, which makes all state floating; integers and booleans become so again."""
        super().load_state_dict(state_dict)
        order = [p for group in self.param_groups for p in group["params"]]
        for index, saved in state_dict["state"].items():
            mine = self.state[order[index]] if isinstance(index, int) else {}
            for name, value in saved.items():
                if isinstance(value, torch.Tensor) and name in mine:
                    mine[name] = mine[name].to(value.dtype) if _exact(value) else mine[name]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            optimizer = self._of_group(group)
            rate, numbers = float(group["lr"]), {}  # type: float, dict[Any, dict[str, Any]]
            for param in group["params"]:
                if param.grad is None:
                    continue
                state = self._state_of(param, optimizer)
                state["step"] += 1
                key = (state["step"], param.dtype, param.device)
                if key not in numbers:
                    real = param.dtype.to_real() if param.is_complex() else param.dtype
                    numbers[key] = scalar_arrays(
                        optimizer, xp, rate, state["step"], real, param.device
                    )
                _update(optimizer, param, state, numbers[key])
        return loss

    def _of_group(self, group: dict[str, Any]) -> Optimizer:
        """The optimizer with the group's hyperparameters; the learning rate is told apart."""
        names = [name for name in fields(self.plugin) if name != "learning_rate"]
        key = tuple((name, group[name]) for name in names)
        if key not in self._made:
            self._made[key] = dataclasses.replace(self.plugin, **dict(key))  # type: ignore[type-var]
        return self._made[key]

    def _state_of(self, param: Any, optimizer: Optimizer) -> dict[str, Any]:
        if param.grad.is_sparse:
            raise UsageError("sparse gradients are not taken: make them dense with .to_dense()")
        state: dict[str, Any] = self.state[param]
        if "step" not in state:
            state.update(optimizer.init(xp, param.detach()))
            state["step"] = 0
        return state


def _exact(value: Any) -> bool:
    return not value.is_floating_point() and not value.is_complex()


def _update(optimizer: Optimizer, param: Any, state: dict[str, Any], numbers: Any) -> None:
    """Update one parameter in place and its state in the dict."""
    grad = param.grad
    arrays = {name: value for name, value in state.items() if name != "step"}
    if optimizer.elementwise and _flat(param, grad, *arrays.values()):
        _in_pieces(optimizer, param, grad, arrays, numbers)
        return
    new, new_state = raw_update(optimizer, xp, param.detach(), grad, arrays, numbers)
    param.copy_(new)
    state.update(new_state)


def _flat(param: Any, grad: Any, *state: Any) -> bool:
    """Whether all lie in memory in one order and are long enough to be worth cutting."""
    return (
        param.numel() > PIECE
        and not param.is_complex()
        and param.device.type == "cpu"
        and all(t.shape == param.shape and t.is_contiguous() for t in (param, grad, *state))
    )


def _in_pieces(
    optimizer: Optimizer, param: Any, grad: Any, state: dict[str, Any], numbers: Any
) -> None:
    """The same update in cache-sized pieces, written over param and state."""
    whole, slopes = param.view(-1), grad.view(-1)
    flat = {name: value.view(-1) for name, value in state.items()}
    for start in range(0, whole.numel(), PIECE):
        part = slice(start, start + PIECE)
        old = {name: value[part] for name, value in flat.items()}
        new, new_state = raw_update(optimizer, xp, whole[part], slopes[part], old, numbers)
        whole[part].copy_(new)
        for name, value in new_state.items():
            old[name].copy_(value)
