"""Softmax cross-entropy with every array made beforehand, as the eager kernels compute it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from agnostic_dl.extend import Instruction
from agnostic_dl_numpy.plan.kernel import Call


class _Parts:
    """Arrays for logits (N, K), and the calls that both directions begin with."""

    def __init__(self, logits: Any, labels: Any) -> None:
        rows, classes = logits.shape
        self.shifted, self.powers = np.empty_like(logits), np.empty_like(logits)
        self.hot = np.empty(logits.shape, np.bool_)
        top, self.total = (np.empty((rows, 1), logits.dtype) for _ in range(2))
        numbers = np.arange(classes, dtype=labels.dtype)
        self.calls: list[Call] = [
            partial(np.maximum.reduce, logits, -1, None, top, True),
            partial(np.subtract, logits, top, self.shifted),
            partial(np.exp, self.shifted, self.powers),
            partial(np.add.reduce, self.powers, -1, None, self.total, True),
            partial(np.equal, labels[:, None], numbers, self.hot),
        ]


def _takes(logits: Any, labels: Any) -> bool:
    return logits.ndim == 2 and labels.shape == logits.shape[:1] and labels.dtype.kind in "iu"


def forward(instruction: Instruction, operands: list[Any], outs: list[Any]) -> list[Call] | None:
    """Calls that write the losses (N,); None: not of the eager kernel's arguments."""
    (logits, labels), (out,) = operands, outs
    if not _takes(logits, labels) or out.dtype != logits.dtype:
        return None
    parts, picked = _Parts(logits, labels), np.empty_like(out)
    return [
        *parts.calls,
        partial(np.log, parts.total[:, 0], out),
        partial(np.multiply, parts.shifted, parts.hot, parts.powers),
        partial(np.add.reduce, parts.powers, -1, None, picked),
        partial(np.subtract, out, picked, out),
    ]


def backward(instruction: Instruction, operands: list[Any], outs: list[Any]) -> list[Call] | None:
    """Calls that write the gradient in the logits (N, K); None: not of the kernel's arguments."""
    (g, logits, labels), (out,) = operands, outs
    if not _takes(logits, labels) or not g.dtype == out.dtype == logits.dtype:
        return None
    parts = _Parts(logits, labels)
    return [
        *parts.calls,
        partial(np.divide, parts.powers, parts.total, out),
        partial(np.subtract, out, parts.hot, out),
        partial(np.multiply, out, g[:, None], out),
    ]
