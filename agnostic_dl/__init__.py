"""agnostic_dl: deep learning on the arrays you already have.

Importing this package loads no array library and no plugin: each public name is imported when it
is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for typing's; importing typing would cost 7 ms
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

#: Public name → (module, name in it); None: the module itself.
_LAZY: dict[str, tuple[str, str | None]] = {
    "list_backends": ("backends", "list_backends"),
    "get_backend": ("backends", "get_backend"),
    "use_backend": ("backends", "use_backend"),
    "BackendInfo": ("backends", "BackendInfo"),
    "list_plugins": ("plugins", "list_plugins"),
    "PluginInfo": ("plugins", "PluginInfo"),
    "Tensor": ("autograd", "Tensor"),
    "checkpoint": ("autograd", "checkpoint"),
    "grad": ("autograd", "grad"),
    "namespace": ("autograd", "namespace"),
    "no_grad": ("autograd", "no_grad"),
    "value_and_grad": ("autograd", "value_and_grad"),
    "vjp": ("autograd", "vjp"),
    "primitive": ("primitives", "primitive"),
    "list_optimizers": ("plugins", "list_optimizers"),
    "optimizer": ("optim", "optimizer"),
    "Trainer": ("train", "Trainer"),
    "train_step": ("train", "train_step"),
    "program": ("train", "program"),
    "compare": ("train", "compare"),
    "diagnose": ("train", "diagnose"),
    "losses": ("nn.losses", None),
    "models": ("nn.models", None),
    "schedules": ("optim.schedules", None),
    **{
        name: (name, None)
        for name in ("data", "errors", "extend", "interop", "nn", "optim", "primitives", "random",
                     "testing", "train", "viz")
    },
}  # fmt: skip

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module_name, attribute = _LAZY[name]
    module = import_module(f"{__name__}.{module_name}")
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from agnostic_dl import (  # noqa: F401
        data,
        errors,
        extend,
        interop,
        nn,
        optim,
        primitives,
        random,
        testing,
        train,
        viz,
    )
    from agnostic_dl.autograd import (  # noqa: F401
        Tensor,
        checkpoint,
        grad,
        namespace,
        no_grad,
        value_and_grad,
        vjp,
    )
    from agnostic_dl.backends import (  # noqa: F401
        BackendInfo,
        get_backend,
        list_backends,
        use_backend,
    )
    from agnostic_dl.nn import losses, models  # noqa: F401
    from agnostic_dl.optim import list_optimizers, optimizer, schedules  # noqa: F401
    from agnostic_dl.plugins import PluginInfo, list_plugins  # noqa: F401
    from agnostic_dl.primitives import primitive  # noqa: F401
    from agnostic_dl.train import Trainer, compare, diagnose, program, train_step  # noqa: F401
