"""The tape: what was computed from what, and the walk back that makes gradients of it.

A :class:`Node` is one application of a primitive to arguments of which some need gradients. It
keeps plain arrays, not Tensors, so the graph has no reference cycles and is freed as it is walked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any

from agnostic_dl.errors import GradientError
from agnostic_dl.primitives import Primitive, Traced, zero

#: Turns a plain array back into a Tensor at its place in the graph: (array, (node, index)).
Lift = Callable[[Any, "Edge | None"], Any]
Edge = tuple["Node", int]

_ticket = count()
_recording: ContextVar[bool] = ContextVar("agnostic_dl_grad_enabled", default=True)


class Node:
    """One application of a primitive, or (primitive None) a leaf that wants a gradient.

    *edges*: for each argument the node and output number it came from, None for a constant.
    *args*, *out*: the plain arrays that went in and came out; *grad* belongs to leaves.
    """

    __slots__ = ("args", "edges", "grad", "order", "out", "primitive", "static")

    def __init__(
        self,
        primitive: Primitive | None = None,
        edges: tuple[Edge | None, ...] = (),
        args: tuple[Any, ...] | None = (),
        out: Any = None,
        static: dict[str, Any] | None = None,
    ) -> None:
        self.primitive, self.edges, self.args = primitive, edges, args
        self.out, self.static = out, static or {}
        self.order = next(_ticket)
        self.grad: Any = None

    def free(self) -> None:
        """Let go of the arrays and of the graph below."""
        self.args, self.out, self.edges = None, None, ()


def is_recording() -> bool:
    """Whether operations on Tensors are put on the tape in this context."""
    return _recording.get()


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
    reached = _reachable([edge[0] for edge, _ in seeds])
    wanted = set(targets) if targets is not None else {n for n in reached if n.primitive is None}
    needed = _needed(reached, wanted)
    cotangents: dict[Node, dict[int, Any]] = {}
    for (node, index), g in seeds:
        _accumulate(cotangents.setdefault(node, {}), index, g, xp)
    found: dict[Node, Any] = {}
    while reached:
        node = reached.pop()
        grads = cotangents.pop(node, None)
        if grads is None or node not in needed:
            continue
        if node in wanted:
            found[node] = grads.get(0)
        if node.primitive is None:
            continue
        for edge, g in _pull_back(node, grads, xp, lift, needed, create_graph):
            _accumulate(cotangents.setdefault(edge[0], {}), edge[1], g, xp)
        if not (create_graph or keep_graph):
            node.free()
    return found


def _reachable(roots: list[Node]) -> list[Node]:
    """All nodes below the roots, oldest first: a topological order, since arguments are older."""
    seen, todo = set(roots), list(roots)
    while todo:
        for edge in todo.pop().edges:
            if edge is not None and edge[0] not in seen:
                seen.add(edge[0])
                todo.append(edge[0])
    return sorted(seen, key=lambda node: node.order)


def _needed(reached: list[Node], wanted: set[Node]) -> set[Node]:
    """The nodes from which a wanted one can be reached."""
    needed = set(wanted)
    for node in reached:
        if any(edge is not None and edge[0] in needed for edge in node.edges):
            needed.add(node)
    return needed


def _accumulate(grads: dict[int, Any], index: int, g: Any, xp: Any) -> None:
    grads[index] = g if index not in grads else xp.add(grads[index], g)


def _pull_back(
    node: Node, grads: dict[int, Any], xp: Any, lift: Lift, needed: set[Node], create_graph: bool
) -> Iterator[tuple[Edge, Any]]:
    """Apply the rules of one node: pairs of an argument's edge and its gradient."""
    primitive = node.primitive
    assert primitive is not None
    if node.args is None:
        raise GradientError(
            f"the graph behind this result was freed by an earlier backward pass (at "
            f"{primitive.name}): compute the result again, or pass keep_graph=True to the first"
        )
    args, out = node.args, node.out
    if create_graph:
        args = tuple(
            arg if edge is None else lift(arg, edge)
            for arg, edge in zip(args, node.edges, strict=True)
        )
        several = isinstance(out, tuple)
        out = (
            tuple(lift(o, (node, i)) for i, o in enumerate(out))
            if several
            else lift(out, (node, 0))
        )
    g = tuple(grads.get(i) for i in range(len(out))) if isinstance(out, tuple) else grads[0]
    wanted = [i for i, edge in enumerate(node.edges) if edge is not None and edge[0] in needed]
    results = _apply_rules(primitive, xp, g, out, args, node.static, wanted, lift, create_graph)
    for i, result in results:
        edge = node.edges[i]
        if result is not None and edge is not None:
            yield edge, fit(xp, result, args[i])


def _apply_rules(
    primitive: Primitive, xp: Any, g: Any, out: Any, args: tuple[Any, ...],
    static: dict[str, Any], wanted: list[int], lift: Lift, create_graph: bool,
) -> Iterator[tuple[int, Any]]:  # fmt: skip
    if primitive.joint_rule is not None:
        grads = primitive.joint_rule(xp, g, out, *args, **static)
        yield from ((i, grads[i]) for i in wanted)
    elif primitive.composed:
        yield from _through_forward(primitive, xp, g, args, static, wanted, lift, create_graph)
    else:
        for i in wanted:
            rule = primitive.rules[i] if i < len(primitive.rules) else None
            if rule is None:
                raise GradientError(
                    f"{primitive.name} has no rule for its argument number {i + 1}: it cannot "
                    f"be differentiated through; detach() the argument, or give the "
                    f"rule with {primitive.name}.defvjp(...)"
                )
            if rule is not zero:
                yield i, rule(xp, g, out, *args, **static)


def _through_forward(
    primitive: Primitive, xp: Any, g: Any, args: tuple[Any, ...], static: dict[str, Any],
    wanted: list[int], lift: Lift, create_graph: bool,
) -> Iterator[tuple[int, Any]]:  # fmt: skip
    """Differentiate the forward itself, run on the namespace of primitives."""
    leaves = {
        i: Node(xp.positive, ((_edge_of(args[i]) or (Node(), 0)),), (args[i],)) for i in wanted
    }
    with recording():
        inputs = [
            lift(_plain(arg), (leaves[i], 0)) if i in leaves else arg for i, arg in enumerate(args)
        ]
        result = primitive.forward(xp, *inputs, **static)
    edge = _edge_of(result)
    if edge is None:
        return
    found = backprop(
        [(edge, g)], xp, lift=lift, targets=list(leaves.values()), create_graph=create_graph
    )
    yield from ((i, found[leaf]) for i, leaf in leaves.items() if leaf in found)


def _edge_of(value: Any) -> Edge | None:
    return getattr(value, "_edge", None)


def _plain(value: Any) -> Any:
    # Not by the attribute's presence: array-api-strict's arrays have an `_array` of their own.
    return value._array if isinstance(value, Traced) else value  # type: ignore[attr-defined]


def fit(xp: Any, g: Any, like: Any) -> Any:
    """Undo broadcasting and promotion: *g* summed to the shape of *like*, in its dtype."""
    if g.shape != like.shape:
        extra = len(g.shape) - len(like.shape)
        axes = tuple(
            a for a, n in enumerate(g.shape) if a < extra or (like.shape[a - extra] == 1 and n != 1)
        )
        if axes:
            g = xp.sum(g, axis=axes, keepdims=True)
        if g.shape != like.shape:
            g = xp.reshape(g, like.shape)
    return g if g.dtype == like.dtype else xp.astype(g, dtype=like.dtype)
