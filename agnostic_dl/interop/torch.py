"""Optimizers of this library's plugins as real ``torch.optim.Optimizer``s."""

from __future__ import annotations

from typing import Any

from agnostic_dl.interop.plugin import framework, make, refuse_schedule

__all__ = ["optimizer"]


def optimizer(name: Any, params: Any, **hyper: Any) -> Any:
    """A ``torch.optim.Optimizer`` that updates *params* by the plugin called *name*.

    *params*: as PyTorch takes them, groups with hyperparameters of their own included; *hyper*:
    the plugin's hyperparameters, `lr` standing for `learning_rate` if you like. Schedulers,
    closures, hooks, `state_dict` and deep copies work as for PyTorch's own.

    >>> # optimizer = adl.interop.torch.optimizer("lion", model.parameters(), learning_rate=1e-4)
    """
    framework("torch")
    from agnostic_dl.interop.torch_optimizer import PluginOptimizer, rename_rate

    made = make(name, rename_rate(hyper), "torch.optimizer")
    refuse_schedule(made.learning_rate, "one of torch.optim.lr_scheduler on top")
    return PluginOptimizer(params, made)
