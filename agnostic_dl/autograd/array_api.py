"""Array API namespaces whose arrays are Tensors: code written for the standard differentiates."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial, update_wrapper
from types import ModuleType
from typing import Any

from agnostic_dl import backends
from agnostic_dl.autograd import creation, tree
from agnostic_dl.autograd.tensor import Tensor
from agnostic_dl.primitives import PRIMITIVES, Primitive

#: Functions about dtypes, shapes and the library: they take Tensors and make none.
_PLAIN = {
    "__array_namespace_info__", "broadcast_shapes", "can_cast", "finfo", "iinfo", "isdtype",
    "result_type",
}  # fmt: skip


class TensorNamespace:
    """The standard's functions over one library, from Tensors to Tensors.

    Each is, in this order: a function of :mod:`~agnostic_dl.autograd.creation`, a primitive, or
    the library's own, which has no rule: what it returns cannot be differentiated through.
    """

    def __init__(self, library: Any, requires_grad: bool = False, extension: str = "") -> None:
        self._library, self._requires_grad, self._extension = library, requires_grad, extension
        short = library.__name__.partition(".")[2] or library.__name__
        self.__name__ = f"agnostic_dl.namespace({short})"

    def __getattr__(self, name: str) -> Any:
        own: Any = getattr(self._library, name, None)
        maker = creation.FUNCTIONS.get(name)
        primitive = PRIMITIVES.get(f"{self._extension}.{name}" if self._extension else name)
        if primitive is None and self._extension and own is not None:
            primitive = PRIMITIVES.get(name)  # linalg.matmul is matmul
        value: Any
        if maker is not None and own is not None:
            value = _wraps(own, partial(maker, self))
        elif primitive is not None:
            value = _wraps(own or primitive.forward, self._of_primitive(primitive))
        elif isinstance(own, ModuleType) and not self._extension:
            value = TensorNamespace(own, self._requires_grad, extension=name)
        elif own is None and not hasattr(self._library, name):
            raise AttributeError(f"{self.__name__} has no attribute {name!r}")
        elif name in _PLAIN:
            value = _wraps(own, _of_plain(own))
        elif callable(own) and not isinstance(own, type):
            value = _wraps(own, self._of_library(name, own))
        else:
            value = own
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._library), *creation.FUNCTIONS})

    def __repr__(self) -> str:
        return f"<{self.__name__}>"

    def _of_primitive(self, primitive: Primitive) -> Callable[..., Any]:
        def function(*args: Any, **static: Any) -> Any:
            out = primitive(*args, **static)
            return out if isinstance(out, Tensor) else self._wrap(out)

        return function

    def _of_library(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that we know nothing about: on the tape, but without a rule."""

        def forward(xp: Any, *arrays: Any, call: Callable[..., Any]) -> Any:
            return call(arrays)

        opaque = Primitive(forward, name=name)

        def function_of_tensors(*args: Any, **options: Any) -> Any:
            tensors = [x for x in tree.leaves((args, options)) if isinstance(x, Tensor)]

            def call(arrays: tuple[Any, ...]) -> Any:
                values = iter(arrays)
                plain = partial(_replaced, values=values)
                out = function(*tree.map_leaves(plain, args), **tree.map_leaves(plain, options))
                return tuple(out) if isinstance(out, list) else out

            return self._wrap(opaque(*tensors, call=call) if tensors else call(()))

        return function_of_tensors

    def _wrap(self, value: Any) -> Any:
        """Arrays as Tensors, also those in a tuple; other values as they are."""
        if isinstance(value, (tuple, list)):
            items = [self._wrap(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        if isinstance(value, Tensor) or not hasattr(value, "dtype") or not hasattr(value, "shape"):
            return value
        return creation.made(self, value)


def _replaced(leaf: Any, values: Any) -> Any:
    return next(values) if isinstance(leaf, Tensor) else leaf


def _of_plain(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        return function(*map(creation.plain, args), **options)

    return call


def _wraps(original: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Give *function* the name, the docstring and the signature of the library's own."""
    return update_wrapper(function, original)


@cache
def tensor_namespace(library: Any, requires_grad: bool = False) -> TensorNamespace:
    """The namespace of Tensors over a library, made once."""
    return TensorNamespace(library, requires_grad)


def namespace(name: str | None = None, requires_grad: bool = False) -> TensorNamespace:
    """An Array API namespace whose arrays are Tensors of the backend *name* (None: the current).

    *requires_grad*: every floating array that it creates asks for gradients.
    """
    return tensor_namespace(backends.get_backend(name).xp, requires_grad)
