"""Transforms of functions: grad, value_and_grad, vjp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from agnostic_dl import backends
from agnostic_dl.autograd import tape, tree
from agnostic_dl.autograd.tape import Entry, Node
from agnostic_dl.autograd.tensor import Tensor, can_differentiate, conjugate, lift, seed_for
from agnostic_dl.errors import DTypeError, GradientError
from agnostic_dl.primitives import PRIMITIVES, library_of, operations


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
            grads = call.pull([out], [None])
        picked = grads[0] if isinstance(argnums, int) else grads
        value = call.release(out)
        return ((value, tree.map_leaves(call.release, aux)) if has_aux else value), picked

    return both


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """f(*primals), and the function from a cotangent of that result to the primals' gradients.

    The result may be a nest of dicts, lists and tuples; the cotangent then has the same form.
    """
    call = _Call(primals)
    with call.watching():
        out = f(*call.inputs)
    outs = list(tree.leaves(out))

    def pull_back(cotangent: Any) -> tuple[Any, ...]:
        cotangents = list(tree.leaves(cotangent))
        if len(cotangents) != len(outs):
            raise GradientError(
                f"the result has {len(outs)} arrays, the cotangent {len(cotangents)}: give one of "
                f"the same form"
            )
        with call.watching():
            return call.pull(outs, cotangents, keep_graph=True)

    return tree.map_leaves(call.release, out), pull_back


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
        self.nested = tape.depth.get() > 0 or any(getattr(v, "requires_grad", False) for v in given)
        self.targets: list[Node] = []
        self.inputs = tree.map_leaves(self._enter, primals)

    def _enter(self, value: Any) -> Tensor:
        if not isinstance(value, Tensor):
            if not hasattr(value, "dtype"):
                value = backends.get_backend().asarray(value)
            value = Tensor(value)
        if not can_differentiate(value._value):
            raise DTypeError(
                f"grad expects floating-point arguments, got {value.dtype}: convert the argument, "
                f"or leave it out of argnums"
            )
        # An identity on the tape: a place of its own that still leads to the outer graph.
        edges = (value._edge,) if value._edge is not None else ()
        node = Entry(
            PRIMITIVES["positive"] if edges else None, edges, (value._value,), value._value
        )
        self.targets.append(node)
        return lift(value._value, (node, 0))

    @contextmanager
    def watching(self) -> Iterator[None]:
        token = tape.depth.set(tape.depth.get() + 1)
        try:
            with tape.recording():
                yield
        finally:
            tape.depth.reset(token)

    def pull(
        self, outs: list[Any], cotangents: list[Any], keep_graph: bool = False
    ) -> tuple[Any, ...]:
        """The gradients of the inputs, given each output's cotangent (None: it is a scalar)."""
        for out in outs:
            if not isinstance(out, Tensor):
                raise GradientError(
                    f"the differentiated function returned {type(out).__name__}, expected a Tensor "
                    f"computed from its arguments (a plain array has left the tape)"
                )
        xp = operations(library_of("grad", (outs[0]._value,))[1])
        seeds = []
        for out, cotangent in zip(outs, cotangents, strict=True):
            seed = seed_for(out, cotangent, xp)
            if self.nested and isinstance(cotangent, Tensor):
                seed = cotangent
            if out._edge is not None:
                seeds.append((out._edge, conjugate(xp, seed)))
        found = tape.backprop(
            seeds, xp, lift=lift, targets=self.targets, create_graph=self.nested,
            keep_graph=keep_graph,
        )  # fmt: skip
        nodes = iter(self.targets)

        def gradient(value: Tensor) -> Any:
            g = found.get(next(nodes))
            return self.release(
                Tensor(xp.zeros_like(value._value)) if g is None else conjugate(xp, g)
            )

        return tuple(tree.map_leaves(gradient, self.inputs))

    def release(self, value: Any) -> Any:
        """Raw in, raw out; unless someone outside still differentiates through the value."""
        if self.nested and isinstance(value, Tensor):
            return value if value.requires_grad or not self.raw else value._value
        plain = value._value if isinstance(value, Tensor) else value
        if self.raw or not hasattr(plain, "dtype"):
            return plain
        return Tensor(plain)
