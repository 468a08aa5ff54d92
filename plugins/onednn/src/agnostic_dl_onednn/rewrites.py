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
    if x.dtype != "float32":
        return None
    return normalization.normalization(x.shape, eps, True, library.threads())


def _pools(match: Match) -> Any:
    x, static = match.value("x"), match.static("max_pool2d")
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


RULES: tuple[Rule, ...] = (
    _where(fusion.relu_into_batch_norm, _normalises),
    _where(fusion.winners_of_max_pool, _pools),
    _where(fusion.bias_grad_into_weight_grad, _convolves),
)
