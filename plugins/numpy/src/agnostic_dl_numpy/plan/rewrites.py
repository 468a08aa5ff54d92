"""Rewrites that save passes over memory, and change no bit of a result.

- ReLU behind a max-pooling: both let the largest through, and the pooled image is the smaller one.
  Backward, what a window's winner gets is the same: where the largest is not positive, nothing.
- A convolution with its bias, and perhaps ReLU, as one operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from agnostic_dl.extend import Instruction, Literal, Program


class _Graph:
    """A program with who makes and who uses each value."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.maker = {n: i for i in program.code for n in i.outs}
        self.users: dict[int, list[Instruction]] = {}
        for instruction in program.code:
            for number in instruction.reads:
                self.users.setdefault(number, []).append(instruction)
        self.kept = set(program.outputs.values())

    def only_user(self, number: int) -> Instruction | None:
        """The one instruction that uses a value which is no output."""
        users = self.users.get(number, [])
        return users[0] if len(users) == 1 and number not in self.kept else None


def rewrite(program: Program) -> Program:
    """Apply every rule until none applies any more."""
    for rule in (_relu_behind_pool, _bias_into_convolution, _relu_into_convolution):
        changed: Program | None = program
        while changed is not None:
            program, changed = changed, rule(changed)
    return program


def _replaced(
    program: Program, new: dict[int, list[Instruction]], renamed: dict[int, int] | None = None
) -> Program:
    """The program with instructions, by their identity, replaced by others; values renamed."""
    names = renamed or {}
    code: list[Instruction] = []
    for old in program.code:
        for instruction in new.get(id(old), [old]):
            ins = tuple(i if isinstance(i, Literal) else names.get(i, i) for i in instruction.ins)
            code.append(replace(instruction, ins=ins))
    return replace(program, code=tuple(code))


def _relu_behind_pool(program: Program) -> Program | None:
    """max_pool2d(relu(c)) → relu(max_pool2d(c)), and its adjoint alike."""
    graph = _Graph(program)
    for relu in program.code:
        found = _pooled(graph, relu) if relu.op == "relu" else None
        if found is not None:
            return _moved(graph, relu, *found)
    return None


def _pooled(
    graph: _Graph, relu: Instruction
) -> tuple[Instruction, Instruction | None, Instruction | None] | None:
    """The pooling of a ReLU's output and their adjoints, if nothing else sees that output."""
    r = relu.outs[0]
    users = graph.users.get(r, [])
    pools = [u for u in users if u.op == "max_pool2d"]
    if len(pools) != 1 or r in graph.kept:
        return None
    pool = pools[0]
    pool_grads = [u for u in users if u.op == "max_pool2d_grad" and u.ins[1:] == (r, pool.outs[0])]
    relu_grads = [u for u in users if u.op == "relu_grad" and u.ins[1] == r]
    if len(users) != 1 + len(pool_grads) + len(relu_grads) or len(pool_grads) > 1:
        return None
    if not pool_grads:
        return (pool, None, None) if not relu_grads else None
    user = graph.only_user(pool_grads[0].outs[0])
    if user is None or relu_grads != [user]:
        return None
    return pool, pool_grads[0], user


def _moved(
    graph: _Graph, relu: Instruction, pool: Instruction, pool_grad: Instruction | None,
    relu_grad: Instruction | None,
) -> Program:  # fmt: skip
    program, source = graph.program, relu.ins[0]
    r, p = relu.outs[0], pool.outs[0]
    # The value r becomes the pooled c: r's number is free, since all its users change.
    values = {**program.values, r: program.values[p]}
    new = {
        id(relu): [],
        id(pool): [
            replace(pool, ins=(source,), outs=(r,)),
            replace(relu, ins=(r,), outs=(p,)),
        ],
    }
    if pool_grad is not None and relu_grad is not None:
        g, masked = pool_grad.ins[0], pool_grad.outs[0]
        values[masked] = program.values[p]
        new[id(pool_grad)] = [
            replace(relu_grad, ins=(g, p), outs=(masked,)),
            replace(pool_grad, ins=(masked, source, r), outs=relu_grad.outs),
        ]
        new[id(relu_grad)] = []
    return replace(_replaced(program, new), values=values)


def _bias_into_convolution(program: Program) -> Program | None:
    """add(conv2d(x, w), b) → conv2d_bias(x, w, b)."""
    graph = _Graph(program)
    for conv in program.code:
        if conv.op != "conv2d":
            continue
        add = graph.only_user(conv.outs[0])
        if add is None or add.op != "add" or add.ins[0] != conv.outs[0]:
            continue
        bias, channels = add.ins[1], program.values[conv.outs[0]].shape[-1:]
        if isinstance(bias, Literal) or program.values[bias].shape != channels:
            continue
        static = {**conv.static, "relu": False}
        fused = Instruction("conv2d_bias", (*conv.ins, bias), add.outs, static)
        return _replaced(program, {id(conv): [], id(add): [fused]})
    return None


def _relu_into_convolution(program: Program) -> Program | None:
    """relu(conv2d_bias(...)) → conv2d_bias(..., relu=True), where only the ReLU sees it."""
    graph = _Graph(program)
    for conv in program.code:
        if conv.op != "conv2d_bias" or conv.static["relu"]:
            continue
        relu = graph.only_user(conv.outs[0])
        if relu is not None and relu.op == "relu":
            fused = replace(conv, outs=relu.outs, static={**conv.static, "relu": True})
            return _replaced(program, {id(conv): [], id(relu): [fused]})
    return None


Rewrite = Callable[[Program], Program | None]
