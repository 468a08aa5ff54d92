"""The tape: what was computed from what, and the walk back that makes gradients of it.

A :class:`Node` is one application of a primitive to arguments of which some need gradients. It
keeps plain arrays, not Tensors, so the graph has no reference cycles and is freed as it is walked.

The walk carries plain derivatives ∂L/∂z (for z = a + ib: ∂L/∂a - i ∂L/∂b), which compose without a
conjugate; what enters and leaves it is conjugated once, by the transforms and `backward`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from operator import attrgetter
from typing import Any

from agnostic_dl.errors import GradientError
from agnostic_dl.primitives import Primitive, zero
from agnostic_dl.primitives.complex_numbers import is_complex
from agnostic_dl.primitives.unread import UNREAD

#: Turns a plain array back into a Tensor at its place in the graph: (array, (node, index)).
Lift = Callable[[Any, "Edge | None"], Any]
Edge = tuple["Node", int]

#: Numbers in the order of time.
ticket = count().__next__
_recording: ContextVar[bool] = ContextVar("agnostic_dl_grad_enabled", default=True)
#: Whether operations on Tensors are put on the tape in this context.
is_recording = _recording.get


_NO_STATIC: dict[str, Any] = {}


class Node:
    """One application of a primitive, or (primitive None) a leaf that wants a gradient.

    *edges*: for each argument the node and output number it came from, None for a constant.
    *args*, *out*: the plain arrays that went in and came out, but for those that no rule reads
    (see `Primitive.defvjp`); *grad* belongs to leaves.
    """

    __slots__ = ("__weakref__", "args", "edges", "grad", "order", "out", "primitive", "static")

    def __init__(
        self,
        primitive: Any = None,
        edges: tuple[Edge | None, ...] = (),
        args: Any = (),
        out: Any = None,
        static: Any = _NO_STATIC,
    ) -> None:
        self.primitive = primitive
        self.edges = edges
        self.args = args
        self.out = out
        self.static = static
        self.order = ticket()
        if primitive is None:
            self.grad: Any = None


class Buffer(Node):
    """A leaf made by a creation function of a namespace: nobody's parameter, free to be filled."""

    __slots__ = ()


class Entry(Node):
    """The place of an argument of a function that is being differentiated."""

    __slots__ = ()


#: How many transforms (grad, vjp, …) are running, one inside the other.
depth: ContextVar[int] = ContextVar("agnostic_dl_transform_depth", default=0)


@contextmanager
def no_grad() -> Iterator[None]:
    """In this context nothing is put on the tape; a context manager and a decorator."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


@contextmanager
def recording() -> Iterator[None]:
    """In this context operations are put on the tape, also inside no_grad."""
    token = _recording.set(True)
    try:
        yield
    finally:
        _recording.reset(token)


# -- the walk ------------------------------------------------------------------------------------


def backprop(
    seeds: Sequence[tuple[Edge, Any]],
    xp: Any,
    *,
    lift: Lift,
    targets: Sequence[Node] | None = None,
    create_graph: bool = False,
    keep_graph: bool = False,
) -> dict[Node, Any]:
    """Walk back from *seeds*, pairs of an edge and its cotangent; gradient by target node.

    *targets*: the nodes wanted, by default all leaves. *create_graph*: the walk itself goes on
    the tape, on Tensors made by *lift*, to be differentiated again.
    """
    reached = reachable([edge[0] for edge, _ in seeds])
    wanted = {n for n in reached if n.primitive is None} if targets is None else set(targets)
    walk = _Walk(xp, lift, create_graph, keep_graph, _needed(reached, wanted, targets))
    found = walk.down(reached, seeds, wanted)
    return {node: grads[0] for node, grads in found.items()}


def reachable(roots: list[Node], since: int = -1) -> list[Node]:
    """All nodes below the roots, oldest first: a topological order, since arguments are older.

    What is older than *since* is not descended into, but included.
    """
    seen, todo = set(roots), list(roots)
    while todo:
        node = todo.pop()
        if node.order < since:
            continue
        for edge in node.edges:
            if edge is not None and edge[0] not in seen:
                seen.add(edge[0])
                todo.append(edge[0])
    return sorted(seen, key=attrgetter("order"))


def _needed(
    reached: list[Node], wanted: set[Node], targets: Sequence[Node] | None
) -> set[Node] | None:
    """The nodes from which a wanted one can be reached; None: all that were reached."""
    if targets is None:
        return None  # every path ends in a leaf, and all leaves are wanted
    needed = set(wanted)
    for node in reached:
        for edge in node.edges:
            if edge is not None and edge[0] in needed:
                needed.add(node)
                break
    return None if len(needed) >= len(reached) else needed


class _Walk:
    """One walk back over a graph: how rules are applied, and which nodes matter."""

    __slots__ = ("create_graph", "keep_graph", "lift", "needed", "xp")

    def __init__(
        self, xp: Any, lift: Lift, create_graph: bool, keep_graph: bool, needed: set[Node] | None
    ) -> None:
        self.xp, self.lift, self.needed = xp, lift, needed
        self.create_graph, self.keep_graph = create_graph, keep_graph

    def down(
        self,
        reached: list[Node],
        seeds: Sequence[tuple[Edge, Any]],
        wanted: set[Node],
        since: int = -1,
    ) -> dict[Node, dict[int, Any]]:
        """Cotangents by output number of the wanted nodes, and of those made before *since*.

        The others are freed on the way.
        """
        xp, needed, free = self.xp, self.needed, not (self.create_graph or self.keep_graph)
        cotangents: dict[Node, dict[int, Any]] = {}
        found: dict[Node, dict[int, Any]] = {}
        for (node, index), g in seeds:
            self._add(cotangents, node, index, g)
        while reached:
            node = reached.pop()
            grads = cotangents.pop(node, None)
            if grads is None or (needed is not None and node not in needed):
                continue
            if node in wanted or node.order < since:
                found[node] = grads
            if node.primitive is None or node.order < since:
                continue
            for (below, index), g in self._pull_back(node, grads):
                held = cotangents.get(below)
                if held is None:
                    cotangents[below] = {index: g}
                else:
                    held[index] = xp.add(held[index], g) if index in held else g
            if free:  # the arrays, and the graph below
                node.args = node.out = node.static = None
                node.edges = ()
        return found

    def _add(self, cotangents: dict[Node, dict[int, Any]], node: Node, index: int, g: Any) -> None:
        held = cotangents.setdefault(node, {})
        held[index] = self.xp.add(held[index], g) if index in held else g

    def _pull_back(self, node: Node, grads: dict[int, Any]) -> list[tuple[Edge, Any]]:
        """Apply the rules of one node: pairs of an argument's edge and its gradient."""
        primitive, args, out = node.primitive, node.args, node.out
        if args is None:
            raise GradientError(
                "the graph behind this result was freed by an earlier backward pass: compute the "
                "result again, or pass keep_graph=True to the first"
            )
        if primitive.formula is not None:
            return self._through_formula(node, grads)
        several = out is not UNREAD and isinstance(out, tuple)
        if self.create_graph:
            args, out = self._lifted(node, several)
        g: Any = tuple(grads.get(i) for i in range(len(out))) if several else grads[0]
        xp, needed, static, rules = self.xp, self.needed, node.static, primitive.rules
        joint = primitive.joint_rule
        results = None if joint is None else joint(xp, g, out, *args, **static)
        pairs = []
        for i, edge in enumerate(node.edges):
            if edge is None or (needed is not None and edge[0] not in needed):
                continue
            if results is not None:
                grad = results[i]
            else:
                rule = rules[i] if i < len(rules) else None
                if rule is zero:
                    continue
                if rule is None:
                    raise _no_rule(primitive, i)
                grad = rule(xp, g, out, *args, **static)
            if grad is not None:
                pairs.append((edge, fit(xp, grad, args[i])))
        return pairs

    def _lifted(self, node: Node, several: bool) -> tuple[Any, Any]:
        """Arguments and output of a node as Tensors at their places in the graph."""
        lift, out = self.lift, node.out
        args = tuple(
            arg if edge is None else lift(arg, edge)
            for arg, edge in zip(node.args, node.edges, strict=True)
        )
        if several:
            return args, tuple(lift(o, (node, i)) for i, o in enumerate(out))
        return args, lift(out, (node, 0))

    def _through_formula(self, node: Node, grads: dict[int, Any]) -> list[tuple[Edge, Any]]:
        """Compute the node's formula anew on the tape, and walk back over that."""
        since = ticket()
        args = tuple(
            arg if edge is None else self.lift(arg, edge)
            for arg, edge in zip(node.args, node.edges, strict=False)
        )
        with recording():
            result = node.primitive.formula(self.xp, *args, **node.static)
        results = result if isinstance(result, tuple) else (result,)
        seeds = []
        for i, cotangent in grads.items():
            edge = getattr(results[i], "_edge", None)
            if edge is not None:
                seeds.append((edge, fit(self.xp, cotangent, results[i])))
        reached = reachable([edge[0] for edge, _ in seeds], since)
        inner = _Walk(self.xp, self.lift, self.create_graph, False, None)
        found = inner.down(reached, seeds, set(), since)
        return [((below, i), g) for below, held in found.items() for i, g in held.items()]


def _no_rule(primitive: Primitive, argument: int) -> GradientError:
    names = primitive.array_names or ["..."]
    return GradientError(
        f"{primitive.name} has no rule for its argument {argument + 1} "
        f"({names[min(argument, len(names) - 1)]}): it cannot be differentiated through; detach() "
        f"the argument, or give the rule with {primitive.name}.defvjp(...)"
    )


def fit(xp: Any, g: Any, like: Any) -> Any:
    """Undo broadcasting and promotion: *g* summed and cast to the shape and dtype of *like*."""
    shape, wanted = g.shape, like.shape
    if shape != wanted:
        extra = len(shape) - len(wanted)
        if extra < 0:
            g = xp.broadcast_to(g, wanted)
        axes = tuple(
            a for a, n in enumerate(shape) if a < extra or (wanted[a - extra] == 1 and n != 1)
        )
        if axes:
            g = xp.sum(g, axis=axes, keepdims=True)
        if g.shape != wanted:
            g = xp.reshape(g, wanted)
    dtype = like.dtype
    if g.dtype is not dtype and g.dtype != dtype:
        if is_complex(xp, g) and not is_complex(xp, like):
            g = xp.real(g)
        g = xp.astype(g, dtype=dtype)
    return g
