"""Recompute checkpointing: less memory for more time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from agnostic_dl.autograd import tape, tree
from agnostic_dl.autograd.tape import Edge, Node
from agnostic_dl.autograd.tensor import Tensor, can_differentiate, lift


def checkpoint(f: Callable[..., Any], *args: Any) -> Any:
    """The function *f*, which keeps none of its intermediate results for the way back.

    They are computed again when gradients are asked for. Its result is a Tensor or a nest of them;
    it must compute the same both times. Gradients reach its arguments and whatever Tensors it
    closes over, a model's parameters say. With *args* it is called at once.

    >>> import agnostic_dl as adl
    >>> xp = adl.namespace("numpy")
    >>> f = adl.checkpoint(lambda x: xp.sum(xp.exp(xp.sin(x))))
    >>> round(float(adl.grad(f)(xp.asarray(0.0))), 6)
    1.0
    """

    @wraps(f)
    def checkpointed(*inputs: Any, **options: Any) -> Any:
        def again() -> Any:
            return f(*inputs, **options)

        return _segment(again) if tape.is_recording() else again()

    return checkpointed(*args) if args else checkpointed


class _Segment:
    """What stands for a checkpointed call in the graph: its formula is the call itself."""

    name = "checkpoint"

    @staticmethod
    def formula(xp: Any, *, again: Callable[[], Any]) -> tuple[Any, ...]:
        return tuple(tree.leaves(again()))


def _segment(again: Callable[[], Any]) -> Any:
    """Run a call, forget its graph, and keep only what it was entered by."""
    since = tape.ticket()
    result = again()
    outs = list(tree.leaves(result))
    tensors = [out for out in outs if isinstance(out, Tensor)]
    roots = [out._edge[0] for out in tensors if out._edge is not None]
    edges = _entries(roots, since)
    if not edges:
        return result
    arrays = tuple(out.data if isinstance(out, Tensor) else out for out in outs)
    node = Node(_Segment, edges, (), arrays, {"again": again})
    numbers = iter(range(len(outs)))

    def kept(out: Any) -> Any:
        i = next(numbers)
        if not isinstance(out, Tensor):
            return out
        return lift(out._value, (node, i) if can_differentiate(out._value) else None)

    return tree.map_leaves(kept, result)


def _entries(roots: list[Node], since: int) -> tuple[Edge, ...]:
    """The edges by which the graph below the roots leads to what is older than *since*."""
    entries: dict[Edge, None] = {}
    for node in tape.reachable(roots, since):
        if node.order >= since:
            entries.update((e, None) for e in node.edges if e is not None and e[0].order < since)
    return tuple(entries)
