"""Instructions as calls without arguments, bound to their arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from agnostic_dl.extend import CHAIN, PRIMITIVES, Instruction, choices, resolved
from agnostic_dl_numpy import scratch, threads
from agnostic_dl_numpy.checks import takes
from agnostic_dl_numpy.plan import chains, softmax
from agnostic_dl_numpy.plan.kernel import Call, Kernel
from agnostic_dl_numpy.plan.memory import same_memory
from agnostic_dl_numpy.plan.pointwise import UFUNCS


class Binder:
    """Binds instructions with a backend's kernels; *own*: those of them that no plugin brings."""

    def __init__(self, xp: Any, kernels: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        self.xp, self.kernels, self._own = xp, kernels, own

    def bind(self, instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call:
        """A call that reads *operands* (arrays and numbers) and writes *outs*."""
        own = choices(self._own.get(instruction.op))
        for kernel in choices(self.kernels.get(instruction.op)):
            if kernel in own:
                break
            if not isinstance(kernel, Kernel):
                return self._kernel(instruction, operands, outs)
            bound = kernel.bind(instruction, operands, outs)
            if bound is not None:
                return bound
        make = _SMALL.get(instruction.op) if _is_small(operands, outs) else None
        call = None if make is None else make(instruction, operands, outs)
        if call is not None:
            return call
        if instruction.op == CHAIN:
            return chains.bind(instruction, operands, outs)
        if instruction.op == "pack":
            return _pack(operands, outs[0])
        return self._kernel(instruction, operands, outs)

    def _kernel(self, instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call:
        """By the eager kernel, or the reference; what it does not write in place is copied."""
        static, op = resolved(instruction.static, self.xp), instruction.op
        kernel, forward = self.kernels.get(op), PRIMITIVES[op].forward
        xp = self.xp

        def call() -> None:
            with scratch.into(outs):
                found = NotImplemented
                if kernel is not None:
                    found = kernel(xp, *operands, **static)
                if found is NotImplemented:
                    found = forward(xp, *operands, **static)
            made = found if isinstance(found, tuple) else (found,)
            for out, array in zip(outs, made, strict=True):
                if array is not out and not same_memory(array, out):
                    np.copyto(out, array)

        return call


def _is_small(operands: list[Any], outs: list[Any]) -> bool:
    return all(a.size <= chains.SMALL for a in (*operands, *outs) if isinstance(a, np.ndarray))


def _pack(operands: list[Any], out: Any) -> Call:
    """Nothing for what was made in its place; the others are copied there."""
    calls, start = [], 0
    for operand in operands:
        slot = out[start : start + operand.size].reshape(operand.shape)
        start += operand.size
        if not same_memory(operand, slot):
            calls.append(partial(np.copyto, slot, operand))
    return chains.sequence(calls) if calls else _nothing


def _nothing() -> None:
    pass


# -- few elements: NumPy's functions themselves ----------------------------------------------------


def _ufunc(name: str) -> Callable[..., Call | None]:
    function = UFUNCS[name]

    def make(instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call | None:
        arrays = [a for a in operands if isinstance(a, np.ndarray)]
        if any(a.dtype != outs[0].dtype for a in arrays):
            return None
        bound = [a if isinstance(a, np.ndarray) else np.array(a, outs[0].dtype) for a in operands]
        return partial(function, *bound, out=outs[0])

    return make


def _relu(instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call:
    return partial(np.maximum, operands[0], np.zeros((), outs[0].dtype), out=outs[0])


def _relu_grad(instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call:
    (g, forward), (out,) = operands, outs
    wins, zero = np.empty(out.shape, np.bool_), np.zeros((), out.dtype)

    def call() -> None:
        np.greater(forward, zero, wins)
        out.fill(0.0)
        np.copyto(out, g, where=wins)

    return call


def _matmul(instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call | None:
    x, y = operands
    if x.ndim != 2 or y.ndim != 2 or not takes(x, y):
        return None
    if x.size * y.shape[1] >= 1 << 18:  # from there OpenBLAS has threads: the kernel keeps them
        return None
    return partial(np.matmul, x, y, outs[0])


def _linear(instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call | None:
    x, weight, bias = operands
    product = _matmul(instruction, [x, weight], outs)
    if product is None:
        return None
    return chains.sequence([product, partial(np.add, outs[0], bias, outs[0])])


def _sum(instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call | None:
    (x,), (out,), static = operands, outs, instruction.static
    if static["dtype"] is not None or x.dtype != out.dtype or x.size >= threads.WORTHWHILE:
        return None
    axis = static["axis"]
    return partial(np.add.reduce, x, axis, None, out, bool(static["keepdims"]))


def _mean(instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call | None:
    (x,), (out,), static = operands, outs, instruction.static
    if x.dtype != out.dtype or x.dtype.char not in "fd" or x.size == 0:
        return None  # of float16 NumPy adds up in float32
    total = partial(np.add.reduce, x, static["axis"], None, out, bool(static["keepdims"]))
    count = np.array(x.size // out.size, out.dtype)
    return chains.sequence([total, partial(np.divide, out, count, out)])


def _calls(make: Callable[..., list[Call] | None]) -> Callable[..., Call | None]:
    def bind(instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call | None:
        calls = make(instruction, operands, outs)
        return None if calls is None else chains.sequence(calls)

    return bind


def _ones_like(instruction: Instruction, operands: list[Any], outs: list[Any]) -> Call:
    return partial(outs[0].fill, 1)


_SMALL: dict[str, Callable[..., Call | None]] = {
    **{name: _ufunc(name) for name in UFUNCS},
    "relu": _relu, "relu_grad": _relu_grad, "matmul": _matmul, "linear": _linear, "sum": _sum,
    "mean": _mean, "ones_like": _ones_like, "softmax_cross_entropy": _calls(softmax.forward),
    "softmax_cross_entropy_grad": _calls(softmax.backward),
}  # fmt: skip
