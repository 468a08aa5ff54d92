"""Array API namespaces whose arrays are Tensors: code written for the standard differentiates."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from types import ModuleType
from typing import Any

from agnostic_dl import backends
from agnostic_dl.autograd import tree
from agnostic_dl.autograd.tensor import Tensor
from agnostic_dl.errors import GradientError
from agnostic_dl.primitives import PRIMITIVES, Primitive


class TensorNamespace:
    """The standard's functions over one library, from Tensors to Tensors.

    Functions that are primitives differentiate; the library's other functions take Tensors that
    need no gradient, and say so otherwise.
    """

    def __init__(self, library: Any, requires_grad: bool = False) -> None:
        self._library, self._requires_grad = library, requires_grad
        self.__name__ = f"agnostic_dl.namespace({library.__name__.rpartition('.')[2]})"

    def __getattr__(self, name: str) -> Any:
        primitive = PRIMITIVES.get(name)
        value = primitive if primitive is not None else getattr(self._library, name)
        if isinstance(value, Primitive):
            value = self._of_primitive(value)
        elif isinstance(value, ModuleType):
            value = TensorNamespace(value, self._requires_grad)
        elif callable(value) and not isinstance(value, type):
            value = self._of_library(value)
        setattr(self, name, value)
        return value

    def __repr__(self) -> str:
        return f"<{self.__name__}>"

    def _of_primitive(self, primitive: Primitive) -> Callable[..., Any]:
        @wraps(primitive.forward)
        def function(*args: Any, **static: Any) -> Any:
            return self._wrap(primitive(*args, **static))

        return function

    def _of_library(self, function: Callable[..., Any]) -> Callable[..., Any]:
        name = getattr(function, "__name__", "function")

        @wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            def plain(value: Any) -> Any:
                if isinstance(value, Tensor) and value.requires_grad:
                    raise GradientError(
                        f"{name} has no gradient rule: detach() its arguments, or keep them plain"
                    )
                return value.data if isinstance(value, Tensor) else value

            out = function(*tree.map_leaves(plain, args), **tree.map_leaves(plain, options))
            return tree.map_leaves(self._wrap, out)

        return call

    def _wrap(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(self._wrap(item) for item in value)
        if isinstance(value, Tensor) or not hasattr(value, "dtype") or not hasattr(value, "shape"):
            return value
        floating = self._requires_grad and self._library.isdtype(value.dtype, "real floating")
        return Tensor(value, requires_grad=floating)


@cache
def tensor_namespace(library: Any, requires_grad: bool = False) -> TensorNamespace:
    """The namespace of Tensors over a library, made once."""
    return TensorNamespace(library, requires_grad)


def namespace(name: str | None = None, requires_grad: bool = False) -> TensorNamespace:
    """An Array API namespace whose arrays are Tensors of the backend *name* (None: the current).

    *requires_grad*: every floating array that it creates asks for gradients.
    """
    return tensor_namespace(backends.get_backend(name).xp, requires_grad)
