"""The plugin author's door: all that a plugin needs to import from agnostic_dl."""

from agnostic_dl.backend import Backend
from agnostic_dl.errors import BackendUnavailable, CaptureWarning, UsageError
from agnostic_dl.hookspecs import hookimpl
from agnostic_dl.kernels import choices, merged
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.primitives import PRIMITIVES, fusion, primitive, zero
from agnostic_dl.primitives.chains import CHAIN, chained
from agnostic_dl.primitives.cost import VIEWS
from agnostic_dl.primitives.passes import optimize
from agnostic_dl.primitives.program import (
    Instruction,
    Literal,
    Operand,
    Plan,
    Program,
    Value,
    resolved,
)
from agnostic_dl.primitives.rewriting import Match, Rule, rewrite, rule

__all__ = [
    "PRIMITIVES", "Backend", "BackendUnavailable", "CaptureWarning", "Optimizer", "UsageError",
    "hookimpl", "primitive", "zero",
    "CHAIN", "VIEWS", "Instruction", "Literal", "Operand", "Plan", "Program", "Value", "chained",
    "choices", "merged", "optimize", "resolved",
    "Match", "Rule", "fusion", "rewrite", "rule",
]  # fmt: skip
