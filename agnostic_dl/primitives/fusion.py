"""Rules that put operations of layers together; a backend takes those that it has kernels for.

Those of phase 0 change no bit of a result, and neither do those of phase 1 where the kernels that
compute the operations together do what they would do apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from agnostic_dl.primitives.program import Instruction, Literal, Value
from agnostic_dl.primitives.rewriting import Match, Rule, rule


def _alike(match: Match, *ops: str) -> bool:
    """Whether the operations have the same static arguments: an adjoint may be of another call."""
    first, *others = (match.static(op) for op in ops)
    return all(static == first for static in others)


# -- ReLU behind a max-pooling: both let the largest through, and the pooled image is smaller ------


@rule(
    ("max_pool2d:p", ("relu:r", "x")),
    ("relu_grad:dx", ("max_pool2d_grad", "g", "r", "p"), "r"),
    phase=0,
)
def relu_behind_max_pool(match: Match) -> Sequence[Instruction] | None:
    """relu, max_pool2d and adjoints; where the largest is not positive, no winner gets any."""
    if not _alike(match, "max_pool2d", "max_pool2d_grad"):
        return None
    x, p, g, out = (match.number(name) for name in ("x", "p", "g", "dx"))
    pooled = match.new(match.value("p"))
    masked = match.new(match.value("p"))
    static = match.static("max_pool2d")
    return [
        Instruction("max_pool2d", (x,), (pooled,), static),
        Instruction("relu", (pooled,), (p,)),
        Instruction("relu_grad", (g, p), (masked,)),
        Instruction("max_pool2d_grad", (masked, x, pooled), (out,), static),
    ]


@rule(("max_pool2d:p", ("relu", "x")), phase=0)
def relu_behind_max_pool_alone(match: Match) -> Sequence[Instruction]:
    """max_pool2d(relu(x)) → relu(max_pool2d(x)), where nothing goes back."""
    pooled = match.new(match.value("p"))
    return [
        Instruction("max_pool2d", (match["x"],), (pooled,), match.static("max_pool2d")),
        Instruction("relu", (pooled,), (match.number("p"),)),
    ]


@rule(
    ("max_pool2d:p", "r"),
    ("relu_grad:dx", ("max_pool2d_grad", "g", "r", "p"), ("relu:r", "x")),
    phase=0,
)
def relu_grad_before_max_pool_grad(match: Match) -> Sequence[Instruction] | None:
    """relu stays with what makes its argument, and its adjoint goes to the smaller image.

    A window's winner holds the pooled value: where that is positive, so is what relu made there.
    Of use where a convolution has ReLU for nothing, in place of :func:`relu_behind_max_pool`.
    """
    if not _alike(match, "max_pool2d", "max_pool2d_grad"):
        return None
    r, p, g, out = (match.number(name) for name in ("r", "p", "g", "dx"))
    masked = match.new(match.value("p"))
    static = match.static("max_pool2d")
    return [
        Instruction("relu", (match["x"],), (r,)),
        Instruction("max_pool2d", (r,), (p,), static),
        Instruction("relu_grad", (g, p), (masked,)),
        Instruction("max_pool2d_grad", (masked, r, p), (out,), static),
    ]


# -- convolution -----------------------------------------------------------------------------------


@rule(("add:out", ("conv2d:c", "x", "weight"), "bias"))
def bias_into_conv2d(match: Match) -> Sequence[Instruction] | None:
    """conv2d(x, weight) + bias → conv2d_bias."""
    bias = match["bias"]
    if isinstance(bias, Literal) or match.value("bias").shape != match.value("c").shape[-1:]:
        return None
    static = {"relu": False, **match.static("conv2d")}
    return [
        Instruction(
            "conv2d_bias", (match["x"], match["weight"], bias), (match.number("out"),), static
        )
    ]


@rule(("relu:out", ("conv2d_bias", "x", "weight", "bias")))
def relu_into_conv2d(match: Match) -> Sequence[Instruction] | None:
    """relu(conv2d_bias(...)) → conv2d_bias(..., relu=True)."""
    static = match.static("conv2d_bias")
    if static["relu"]:
        return None
    ins = match["x"], match["weight"], match["bias"]
    return [Instruction("conv2d_bias", ins, (match.number("out"),), {**static, "relu": True})]


@rule(
    ("conv2d_weight_grad:dw", "x", "g"),
    ("reshape:db", ("sum", "g")),
)
def bias_grad_into_weight_grad(match: Match) -> Sequence[Instruction] | None:
    """The gradients in a convolution's weight and bias, which both read all of g, as one."""
    if not _over_all_but_channels(match, "sum") or len(match.value("db").shape) != 1:
        return None
    static = match.static("conv2d_weight_grad")
    outs = match["dw"], match["db"]
    return [_several("conv2d_weight_bias_grad", (match["x"], match["g"]), outs, static)]


def _over_all_but_channels(match: Match, op: str) -> bool:
    """Whether a matched sum is over all axes but the last, in its array's own dtype."""
    instruction = match.instruction(op)
    axis, rank = instruction.static["axis"], len(match.program.values[instruction.reads[0]].shape)
    if axis is None or instruction.static["dtype"] is not None:
        return False
    axes = axis if isinstance(axis, tuple) else (axis,)
    return sorted(a % rank for a in axes) == [*range(rank - 1)]


def _several(op: str, ins: Any, outs: Any, static: Any) -> Instruction:
    return Instruction(op, tuple(ins), tuple(outs), static, several=True)


# -- normalisation ---------------------------------------------------------------------------------


_GRADIENTS = (
    ("batch_norm_input_grad:dx", "g", "x", "mean", "var", "weight"),
    ("batch_norm_weight_grad:dw", "g", "x", "mean", "var"),
)


@rule(*_GRADIENTS, ("sum:db", "g"))
def batch_norm_gradients_together(match: Match) -> Sequence[Instruction] | None:
    """The three gradients of batch_norm, whose sums over g and x are the same, as one."""
    if not _over_all_but_channels(match, "sum") or match.static("sum")["keepdims"]:
        return None
    return _gradients(match, match.number("db"))


@rule(*_GRADIENTS, ("sum:db", ("astype", "g")))
def batch_norm_gradients_of_short_images(match: Match) -> Sequence[Instruction] | None:
    """The same in mixed precision, where the gradient is cast before it is summed."""
    if match.value("db").dtype != match.value("mean").dtype:
        return None
    if not _over_all_but_channels(match, "sum") or match.static("sum")["keepdims"]:
        return None
    return _gradients(match, match.number("db"))


@rule(*_GRADIENTS)
def batch_norm_two_gradients_together(match: Match) -> Sequence[Instruction] | None:
    """The same where the bias's is computed elsewhere: two branches are given one gradient."""
    return _gradients(match, match.new(match.value("dw")))


def _gradients(match: Match, bias: int) -> Sequence[Instruction] | None:
    if not _alike(match, "batch_norm_input_grad", "batch_norm_weight_grad"):
        return None
    ins = [match[name] for name in ("g", "x", "mean", "var", "weight")]
    outs = [match.number("dx"), match.number("dw"), bias]
    static = match.static("batch_norm_input_grad")
    return [_several("batch_norm_gradients", ins, outs, static)]


@rule(
    ("relu:r", ("batch_norm:y mean var", "x", "weight", "bias")),
    ("batch_norm_gradients:dx dw db", ("relu_grad", "g", "r"), "x", "mean", "var", "weight"),
)
def relu_into_batch_norm(match: Match) -> Sequence[Instruction] | None:
    """ReLU behind batch_norm, and its adjoint before the gradients, inside of both."""
    if not _alike(match, "batch_norm", "batch_norm_gradients"):
        return None
    static = match.static("batch_norm")
    positive = match.new(Value(match.value("x").shape, "bool"))
    x, weight, bias, mean, var = (match[n] for n in ("x", "weight", "bias", "mean", "var"))
    forward = [match["r"], mean, var, positive]
    ins = [match["g"], x, mean, var, weight, positive]
    outs = [match[name] for name in ("dx", "dw", "db")]
    return [
        _several("batch_norm_relu", (x, weight, bias), forward, static),
        _several("batch_norm_relu_gradients", ins, outs, static),
    ]


# -- max-pooling -----------------------------------------------------------------------------------


@rule(("max_pool2d:p", "x"), ("max_pool2d_grad:dx", "g", "x", "p"))
def winners_of_max_pool(match: Match) -> Sequence[Instruction] | None:
    """A max-pooling that remembers who won, and its adjoint that no longer needs the image."""
    static = match.static("max_pool2d")
    if math.prod(static["kernel"]) > 256 or not _alike(match, "max_pool2d", "max_pool2d_grad"):
        return None
    winner = match.new(Value(match.value("p").shape, "uint8"))
    x, size = match["x"], match.value("x").shape[1:3]
    return [
        _several("max_pool2d_winners", (x,), (match["p"], winner), static),
        Instruction(
            "max_pool2d_route",
            (match["g"], winner),
            (match.number("dx"),),
            {**static, "size": size},
        ),
    ]


#: For every kernel set with `batch_norm_gradients`.
NORMALIZATION: tuple[Rule, ...] = (
    batch_norm_gradients_together, batch_norm_two_gradients_together
)  # fmt: skip
#: For every kernel set with `conv2d_bias`.
CONVOLUTION: tuple[Rule, ...] = (
    relu_behind_max_pool, relu_behind_max_pool_alone, bias_into_conv2d, relu_into_conv2d,
)  # fmt: skip
