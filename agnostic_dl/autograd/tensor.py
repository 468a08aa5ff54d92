"""Tensor: an array of any library that can be differentiated through."""

from __future__ import annotations

from typing import Any

from agnostic_dl import backends
from agnostic_dl.autograd import tape
from agnostic_dl.autograd.operators import ArrayObject
from agnostic_dl.autograd.tape import Buffer, Edge, Entry, Node
from agnostic_dl.errors import DTypeError, GradientError
from agnostic_dl.primitives import PRIMITIVES, Primitive, library_of, operations
from agnostic_dl.primitives.complex_numbers import conjugated, is_complex
from agnostic_dl.primitives.definition import escape
from agnostic_dl.primitives.dtypes import isdtype
from agnostic_dl.primitives.unread import UNREAD, kept_outputs, outline

_new = object.__new__
_FILLABLE = (PRIMITIVES["copy"], PRIMITIVES["index_set"])


class Tensor(ArrayObject):
    """An array with a place on the tape.

    *array*: an array of any Array API library, or host data, of which the current backend makes
    one. *requires_grad*: operations on it are recorded, and :meth:`backward` leaves its gradient
    in :attr:`grad`; only floating-point and complex arrays can ask for that.

    Operators and functions of the standard's namespaces apply as to the array itself.
    """

    __slots__ = ("__weakref__", "_array", "_edge")

    def __init__(self, array: Any, requires_grad: bool = False) -> None:
        if isinstance(array, Tensor):
            array = array._value
        elif not hasattr(array, "__array_namespace__") and not hasattr(array, "__dlpack__"):
            array = backends.get_backend().asarray(array)
        self._array: Any = array
        self._edge: Edge | None = None
        if requires_grad:
            self.requires_grad = True

    # -- what it holds ------------------------------------------------------------------------

    @property
    def data(self) -> Any:
        """The array itself, of the backend's class. Assigning replaces it, off the tape."""
        escape("the data of a Tensor was read: its values would be frozen")
        return self._value

    @data.setter
    def data(self, array: Any) -> None:
        self._array = array._value if isinstance(array, Tensor) else array

    @property
    def _value(self) -> Any:
        """The array, for operations that go through the primitives."""
        return self._array

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this Tensor are recorded."""
        return self._edge is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if wanted and self._edge is None:
            if not can_differentiate(self._value):
                raise DTypeError(
                    f"only floating-point Tensors can require gradients, this one is "
                    f"{self._value.dtype}: convert it first, say to float32"
                )
            self._edge = (Node(), 0)
        elif not wanted:
            self._edge = None

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward() accumulated here, a Tensor; None before."""
        if self._edge is None or self._edge[0].primitive is not None:
            return None
        gradient: Tensor | None = self._edge[0].grad
        return gradient

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if self._edge is None or self._edge[0].primitive is not None:
            raise GradientError("only a leaf Tensor that requires gradients has a .grad to set")
        self._edge[0].grad = value

    def detach(self) -> Tensor:
        """The same array, off the tape."""
        return Tensor(self._value)

    def backward(self, gradient: Any = None, *, keep_graph: bool = False) -> None:
        """Add the gradient of this scalar to `.grad` of every leaf that it was computed from.

        *gradient*: the cotangent, of this Tensor's shape; needed where it is not a scalar. The
        graph is freed on the way unless *keep_graph*.
        """
        if self._edge is None:
            raise GradientError(
                "backward() needs a Tensor that was computed from one with requires_grad=True"
            )
        xp = operations(library_of("backward", (self._value,))[1])
        seed = conjugate(xp, seed_for(self, gradient, xp))
        found = tape.backprop([(self._edge, seed)], xp, lift=lift, keep_graph=keep_graph)
        for leaf, g in found.items():
            g = conjugate(xp, g)
            leaf.grad = Tensor(g if leaf.grad is None else xp.add(leaf.grad._value, g))

    # -- tracing ------------------------------------------------------------------------------

    def trace(self, primitive: Primitive, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """Apply *primitive* to the arrays and, if a gradient is wanted, put it on the tape."""
        arrays, edges, watched = [], [], False
        for arg in args:
            if type(arg) is Tensor or isinstance(arg, Tensor):
                edge = arg._edge
                arrays.append(arg._array if type(arg) is Tensor else arg._value)
                edges.append(edge)
                if edge is not None:
                    watched = True
            else:
                arrays.append(arg)
                edges.append(None)
        values = tuple(arrays)
        out = primitive.run(values, static)
        if not (watched and primitive.differentiable and tape.is_recording()):
            return _lift_all(out, None) if isinstance(out, tuple) else lift(out, None)
        kept, unread = values, primitive.unread
        if unread != ():
            for i in range(len(arrays)) if unread is None else unread:
                edge = edges[i]
                if edge is not None and edge[0].primitive is not None:  # a leaf's stays
                    arrays[i] = outline(arrays[i])
            kept = tuple(arrays)
        if isinstance(out, tuple):
            outs = kept_outputs(primitive.keeps, out)
            return _lift_all(out, Node(primitive, tuple(edges), kept, outs, static))
        node = Node(primitive, tuple(edges), kept, out if primitive.reads_out else UNREAD, static)
        # A cast to integers has no gradient: its result is plain.
        if primitive.casts and not can_differentiate(out):
            return lift(out, None)
        tensor: Tensor = _new(Tensor)
        tensor._array, tensor._edge = out, (node, 0)
        return tensor

    def _fillable(self) -> bool:
        """Whether assignment may rebind this Tensor to another value.

        It may where the Tensor is off the tape or holds a new array (copied, or just made); and
        within a transform, where what the function computes is its own, also what it computed.
        """
        if self._edge is None:
            return True
        node: Node = self._edge[0]
        while node.primitive is PRIMITIVES["reshape"] and node.edges and node.edges[0]:
            node = node.edges[0][0]
        if isinstance(node, Buffer) or node.primitive in _FILLABLE:
            return True
        own = node.primitive is not None and not isinstance(node, Entry)
        return own and tape.depth.get() > 0

    def _rebind(self, new: Tensor) -> None:
        self.data = new._value
        self._edge = new._edge

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        from agnostic_dl.autograd.array_api import tensor_namespace

        return tensor_namespace(library_of("Tensor", (self._value,))[1])

    def __repr__(self) -> str:
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({self._value!r}{grad})"


def lift(array: Any, edge: Edge | None, new: Any = Tensor.__new__) -> Tensor:
    """A Tensor at a given place of the graph, without the checks of the constructor."""
    tensor: Tensor = new(Tensor)
    tensor._array = array
    tensor._edge = edge
    return tensor


def _lift_all(out: tuple[Any, ...], node: Node | None) -> Any:
    """The outputs of a primitive with several, in the same kind of tuple."""
    lifted: list[Any] = [
        lift(o, (node, i) if node is not None and can_differentiate(o) else None)
        for i, o in enumerate(out)
    ]
    return type(out)(*lifted) if hasattr(out, "_fields") else tuple(lifted)


_DIFFERENTIABLE: dict[tuple[type, Any], bool] = {}


def can_differentiate(array: Any) -> bool:
    """Whether the array's dtype, floating-point or complex, can have a gradient."""
    kind = (type(array), array.dtype)
    answer = _DIFFERENTIABLE.get(kind)
    if answer is None:
        xp = library_of("Tensor", (array,))[1]
        answer = isdtype(xp, array.dtype, ("real floating", "complex floating"))
        _DIFFERENTIABLE[kind] = answer
    return answer


def conjugate(xp: Any, g: Any) -> Any:
    """From the tape's derivatives to gradients and back; real numbers as they are."""
    return conjugated(xp, g)


def seed_for(out: Tensor, gradient: Any, xp: Any) -> Any:
    """The cotangent to start from, as a plain array: 1 for a scalar, else what was given."""
    if gradient is None:
        if out._value.shape != ():
            raise GradientError(
                f"the gradient of a result of shape {tuple(out._value.shape)} needs a cotangent of "
                f"that shape: reduce it to a scalar first, say with sum or mean, or pass one"
            )
        if is_complex(xp, out._value):
            raise GradientError(
                "the gradient of a complex result needs a cotangent: make it real first, say with "
                "real or abs, or pass one"
            )
        return xp.ones_like(out._value)
    gradient = gradient._value if isinstance(gradient, Tensor) else gradient
    if tuple(gradient.shape) != tuple(out._value.shape):
        raise GradientError(
            f"the cotangent has shape {tuple(gradient.shape)}, expected that of the result, "
            f"{tuple(out._value.shape)}"
        )
    return gradient
