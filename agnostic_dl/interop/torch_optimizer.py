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

#: Elements updated at a time where the optimizer is elementwise: what lies between stays in cache,
#: and is not above what torch leaves to one thread.
PIECE = 1 << 15


def rename_rate(hyper: Mapping[str, Any]) -> dict[str, Any]:
    """*hyper* with PyTorch's `lr` under this library's name."""
    if "lr" not in hyper:
        return dict(hyper)
    if "learning_rate" in hyper:
        raise UsageError("give the learning rate once, as learning_rate or as lr")
    return {("learning_rate" if key == "lr" else key): value for key, value in hyper.items()}


#: A parameter, its gradient, and the optimizer's state of it.
Member = tuple[Any, Any, dict[str, Any]]


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
            for (count, dtype, device), members in self._batches(group, optimizer).items():
                real = dtype.to_real() if dtype.is_complex else dtype
                numbers = scalar_arrays(optimizer, xp, float(group["lr"]), count, real, device)
                _update(optimizer, members, numbers)
        return loss

    def _batches(self, group: dict[str, Any], optimizer: Optimizer) -> dict[Any, list[Member]]:
        """The group's parameters that have a gradient, by (step, dtype, device)."""
        batches: dict[Any, list[Member]] = {}
        for param in group["params"]:
            if param.grad is not None:
                state = self._state_of(param, optimizer)
                state["step"] += 1
                key = (state["step"], param.dtype, param.device)
                batches.setdefault(key, []).append((param, param.grad, state))
        return batches

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


def _arrays(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != "step"}


def _update(optimizer: Optimizer, members: list[Member], numbers: dict[str, Any]) -> None:
    """Update parameters in place: an elementwise optimizer's small ones in one go."""
    small = []
    for member in members:
        param, grad, state = member
        arrays = _arrays(state)
        if not (optimizer.elementwise and _flat(param, grad, *arrays.values())):
            new, new_state = raw_update(optimizer, xp, param.detach(), grad, arrays, numbers)
            param.copy_(new)
            state.update(new_state)
        elif param.numel() < PIECE:
            small.append(member)
        else:
            _in_pieces(optimizer, param, grad, arrays, numbers)
    if small:
        _together(optimizer, small, numbers)


def _flat(param: Any, *others: Any) -> bool:
    """Whether all lie in memory in one order, so that the elements can be lined up."""
    return not param.is_complex() and all(
        t.shape == param.shape and t.is_contiguous() for t in (param, *others)
    )


def _in_pieces(
    optimizer: Optimizer, param: Any, grad: Any, state: dict[str, Any], numbers: dict[str, Any]
) -> None:
    """The update in cache-sized pieces, written over param and state."""
    names = list(state)
    size = PIECE if param.device.type == "cpu" else max(param.numel(), 1)
    columns = [t.view(-1).split(size) for t in (param, grad, *state.values())]
    for piece, slopes, *held in zip(*columns, strict=True):
        old = dict(zip(names, held, strict=True))
        new, new_state = raw_update(optimizer, xp, piece, slopes, old, numbers)
        piece.copy_(new)
        for name, value in new_state.items():
            old[name].copy_(value)


def _together(optimizer: Optimizer, members: list[Member], numbers: dict[str, Any]) -> None:
    """Small parameters lined up behind each other, updated, and written back."""
    if len(members) == 1:
        param, grad, state = members[0]
        _in_pieces(optimizer, param, grad, _arrays(state), numbers)
        return
    names = list(_arrays(members[0][2]))
    columns = [[param.view(-1) for param, _, _ in members]]
    columns += [[state[name].view(-1) for _, _, state in members] for name in names]
    param, *held = (torch.cat(column) for column in columns)
    grad = torch.cat([grad.view(-1) for _, grad, _ in members])
    _in_pieces(optimizer, param, grad, dict(zip(names, held, strict=True)), numbers)
    sizes = [piece.numel() for piece in columns[0]]
    for column, joined in zip(columns, (param, *held), strict=True):
        torch._foreach_copy_(column, joined.split(sizes))
