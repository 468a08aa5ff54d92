"""The conformance kits: what a plugin must keep, checked rule by rule, on every array library.

Each check returns a report, or raises errors.ConformanceError with every rule that failed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

#: Public name → its module in this package.
_LAZY = {
    "Report": "report",
    "check_backend": "backends",
    "check_grads": "gradients",
    "check_kernels": "kernels",
    "check_optimizer": "optimizers",
    "optimizer_tests": "optimizers",
}

__all__ = [*_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from agnostic_dl.testing.backends import check_backend  # noqa: F401
    from agnostic_dl.testing.gradients import check_grads  # noqa: F401
    from agnostic_dl.testing.kernels import check_kernels  # noqa: F401
    from agnostic_dl.testing.optimizers import check_optimizer, optimizer_tests  # noqa: F401
    from agnostic_dl.testing.report import Report  # noqa: F401
