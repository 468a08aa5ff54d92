"""Transforms of functions: grad, value_and_grad, vjp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from agnostic_dl import backends
from agnostic_dl.autograd import tape, tree
from agnostic_dl.autograd.tape import Node
from agnostic_dl.autograd.tensor import Tensor, lift, seed_for
from agnostic_dl.errors import DTypeError, GradientError
from agnostic_dl.primitives import PRIMITIVES, library_of, operations

_depth: ContextVar[int] = ContextVar("agnostic_dl_transform_depth", default=0)


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function that returns the gradient of the scalar function *f* in its arguments.

    *argnums*: which positional arguments; an argument may be a nest of dicts, lists and tuples,
    and its gradient has the same form. Tensors in, Tensors out; raw arrays in, raw arrays out.

    >>> import agnostic_dl as adl
    >>> xp = adl.get_backend("numpy").xp
    >>> float(adl.grad(lambda x: x**3)(xp.asarray(2.0)))
    12.0
    """
    both = value_and_grad(f, argnums)

    @wraps(f)
    def gradient(*args: Any, **options: Any) -> Any:
        return both(*args, **options)[1]

    return gradient


def value_and_grad(
    f: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """As :func:`grad`, but the function returns the value and the gradient.

    *has_aux*: *f* returns (scalar, aux), and the function ((scalar, aux), gradient).
    """

    @wraps(f)
    def both(*args: Any, **options: Any) -> Any:
        places = _places(argnums, args)
        call = _Call(tuple(args[i] for i in places))
        with call.watching():
            full = list(args)
            for i, value in zip(places, call.inputs, strict=True):
                full[i] = value
            result = f(*full, **options)
            out, aux = result if has_aux else (result, None)
            grads = call.pull(out, None)
        picked = grads[0] if isinstance(argnums, int) else grads
        value = call.release(out)
        return ((value, tree.map_leaves(call.release, aux)) if has_aux else value), picked

    return both


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """f(*primals), and the function from a cotangent of that result to the primals' gradients."""
    call = _Call(primals)
    with call.watching():
        out = f(*call.inputs)

    def pull_back(cotangent: Any) -> tuple[Any, ...]:
        with call.watching():
            return call.pull(out, cotangent, keep_graph=True)

    return call.release(out), pull_back


def _places(argnums: int | tuple[int, ...], args: tuple[Any, ...]) -> tuple[int, ...]:
    places = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for i in places:
        if not -len(args) <= i < len(args):
            raise GradientError(
                f"argnums names the positional argument {i}, but the function was called with "
                f"{len(args)}"
            )
    return tuple(i % len(args) for i in places)


class _Call:
    """One call under differentiation: its inputs as Tensors on the tape, and the way back."""

    def __init__(self, primals: tuple[Any, ...]) -> None:
        given = list(tree.leaves(primals))
        self.raw = not any(isinstance(value, Tensor) for value in given)
        # Whether someone outside may differentiate the result again: then the walk back is taped.
        self.nested = _depth.get() > 0 or any(getattr(v, "requires_grad", False) for v in given)
        self.targets: list[Node] = []
        self.inputs = tree.map_leaves(self._enter, primals)

    def _enter(self, value: Any) -> Tensor:
        if not isinstance(value, Tensor):
            if not hasattr(value, "dtype"):
                value = backends.get_backend().asarray(value)
            value = Tensor(value)
        xp = library_of("grad", (value.data,))[1]
        if not xp.isdtype(value.dtype, ("real floating", "complex floating")):
            raise DTypeError(
                f"grad expects floating-point arguments, got {value.dtype}: convert the argument, "
                f"or leave it out of argnums"
            )
        # An identity on the tape: a place of its own that still leads to the outer graph.
        edges = (value._edge,) if value._edge is not None else ()
        node = Node(PRIMITIVES["positive"] if edges else None, edges, (value.data,), value.data)
        self.targets.append(node)
        return lift(value.data, (node, 0))

    @contextmanager
    def watching(self) -> Iterator[None]:
        token = _depth.set(_depth.get() + 1)
        try:
            with tape.recording():
                yield
        finally:
            _depth.reset(token)

    def pull(self, out: Any, cotangent: Any, keep_graph: bool = False) -> tuple[Any, ...]:
        if not isinstance(out, Tensor):
            raise GradientError(
                f"the differentiated function returned {type(out).__name__}, expected a Tensor "
                f"computed from its arguments (a plain array has left the tape)"
            )
        library = library_of("grad", (out.data,))[1]
        xp = operations(library)
        seed = cotangent if isinstance(cotangent, Tensor) else None
        plain = seed_for(out, cotangent, xp)
        seed = seed if seed is not None and self.nested else plain
        found: dict[Node, Any] = {}
        if out._edge is not None:
            found = tape.backprop(
                [(out._edge, seed)], xp, lift=lift, targets=self.targets,
                create_graph=self.nested, keep_graph=keep_graph,
            )  # fmt: skip
        nodes = iter(self.targets)

        def gradient(value: Tensor) -> Any:
            g = found.get(next(nodes))
            return self.release(Tensor(xp.zeros_like(value.data)) if g is None else g)

        return tuple(tree.map_leaves(gradient, self.inputs))

    def release(self, value: Any) -> Any:
        """Raw in, raw out; unless someone outside still differentiates through the value."""
        if self.nested and isinstance(value, Tensor):
            return value if value.requires_grad or not self.raw else value.data
        plain = value.data if isinstance(value, Tensor) else value
        if self.raw or not hasattr(plain, "dtype"):
            return plain
        return Tensor(plain)
