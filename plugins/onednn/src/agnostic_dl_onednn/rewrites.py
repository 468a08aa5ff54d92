"""Rules that put layers' operations together where the library does them in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agnostic_dl.extend import Instruction, Match, Rule, fusion
from agnostic_dl_onednn import kernels, library, normalization, pooling


def _where(rule: Rule, takes: Callable[[Match], Any]) -> Rule:
    """The rule where the library has something good for what it matched."""

    def build(match: Match) -> Sequence[Instruction] | None:
        return rule.build(match) if takes(match) else None

    return Rule(rule.patterns, build, rule.phase)


def _normalises(match: Match) -> Any:
    x, eps = match.value("x"), match.static("batch_norm")["eps"]
    if any(match.value(n).dtype != "float32" for n in ("x", "weight", "bias", "g")):
        return None
    return normalization.normalization(x.shape, eps, True, library.threads())


def _pools(match: Match) -> Any:
    static = match.static("max_pool2d")
    x = match.program.values[match.instruction("max_pool2d").reads[0]]
    if x.dtype != "float32":
        return None
    pool = pooling.pool(x.shape, *(static[n] for n in ("kernel", "stride", "padding")),
                        library.threads())  # fmt: skip
    return pool is not None and pool.counts_places


def _convolves(match: Match) -> Any:
    x, weight = match.value("x"), match.value("dw")
    static = match.static("conv2d_weight_grad")
    if x.dtype != "float32" or static["groups"] != 1:
        return None
    geometry = (static[name] for name in ("stride", "padding", "dilation"))
    return kernels.convolution("weights", x.shape, weight.shape, True, False, *geometry,
                               library.threads())  # fmt: skip


def _pools_behind_convolution(match: Match) -> Any:
    """The bias's addition and the convolution are one instruction later: they take ReLU along."""
    makers = {n: i for i in match.program.code for n in i.outs}
    maker = makers.get(match.number("x"))
    if maker is not None and maker.op == "add":
        maker = makers.get(maker.reads[0])
    return maker is not None and maker.op.startswith("conv2d") and _pools(match)


RULES: tuple[Rule, ...] = (
    _where(fusion.relu_grad_before_max_pool_grad, _pools_behind_convolution),
    _where(fusion.relu_into_batch_norm, _normalises),
    _where(fusion.winners_of_max_pool, _pools),
    _where(fusion.bias_grad_into_weight_grad, _convolves),
)
