"""Batch norm behind ReLU: two kernels that hand over a mask in a form of their own.

They are judged together, the gradients by the mask that the forward made, and must take or decline
the same arrays: nobody else can read that mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.primitives.program import Instruction
from agnostic_dl.testing.calls import Call
from agnostic_dl.testing.report import Broken

FORWARD, BACKWARD = MASKED = ("batch_norm_relu", "batch_norm_relu_gradients")


def run_pair(xp: Any, kernels: Mapping[str, Any], call: Call) -> tuple[Any, Any] | None:
    """What both kernels make of a call of the gradients, without the mask; None: both decline.

    Broken: one takes what the other declines.
    """
    g, x, _, _, weight, _ = call.arrays
    bias = xp.zeros_like(weight)
    how = _bound if all(hasattr(kernels[name], "bind") for name in MASKED) else _eager
    made, got = how(xp, kernels, g, (x, weight, bias), call.static)
    if (made is NotImplemented) != (got is NotImplemented):
        raise Broken(f"{call}: {FORWARD} and {BACKWARD} do not take the same arrays")
    return None if made is NotImplemented else (made, got)


def references(xp: Any, call: Call) -> tuple[Any, Any]:
    """What the two primitives' references make of it in float64, without the mask.

    In float32 the references' plain sums are further off than those of most kernels.
    """
    dtype = call.arrays[0].dtype
    g, x, weight = (xp.astype(call.arrays[k], xp.float64) for k in (0, 1, 4))
    *made, mask = PRIMITIVES[FORWARD].forward(xp, x, weight, xp.zeros_like(weight), **call.static)
    arrays = (g, x, *made[1:], weight, mask)
    got = PRIMITIVES[BACKWARD].forward(xp, *arrays, **call.static)
    return tuple(xp.astype(a, dtype) for a in made), tuple(xp.astype(a, dtype) for a in got)


def views(xp: Any, call: Call) -> Iterator[Call]:
    """The call; with a gradient that lies in another order; with one that is a broadcast view.

    The last is what an average over the image hands back.
    """
    yield call
    g, *rest = call.arrays
    turned = xp.permute_dims(g, tuple(range(g.ndim))[::-1])
    other = xp.permute_dims(xp.asarray(turned, copy=True), tuple(range(g.ndim))[::-1])
    yield Call(call.primitive, (other, *rest), call.static)
    means = g[(slice(None), *[slice(0, 1)] * (g.ndim - 2))]
    wide = xp.broadcast_to(xp.asarray(means, copy=True), g.shape)
    yield Call(call.primitive, (wide, *rest), call.static)


def _eager(xp: Any, kernels: Mapping[str, Any], g: Any, forward: Any, static: Any) -> Any:
    x, weight, _ = forward
    made = kernels[FORWARD](xp, *forward, **static)
    if made is NotImplemented:
        return made, made
    *first, mask = made
    got = kernels[BACKWARD](xp, g, x, *first[1:], weight, mask, **static)
    return tuple(first), got


def _bound(xp: Any, kernels: Mapping[str, Any], g: Any, forward: Any, static: Any) -> Any:
    """By calls that are bound to the arrays first, as in a plan."""
    x, weight, _ = forward
    y, dx = xp.zeros(x.shape, dtype=x.dtype), xp.zeros(x.shape, dtype=x.dtype)
    mean, var, dw, db = (xp.zeros(weight.shape, dtype=x.dtype) for _ in range(4))
    mask = xp.zeros(x.shape, dtype=xp.bool)
    arrays = {
        FORWARD: (list(forward), [y, mean, var, mask]),
        BACKWARD: ([g, x, mean, var, weight, mask], [dx, dw, db]),
    }
    calls = []
    for name, (ins, outs) in arrays.items():
        places = tuple(range(len(ins))), tuple(range(len(ins), len(ins) + len(outs)))
        calls.append(kernels[name].bind(Instruction(name, *places, static, True), ins, outs))
    if None in calls:
        return tuple(NotImplemented if call is None else call for call in calls)
    for call in calls:
        call()
    return (y, mean, var), (dx, dw, db)
