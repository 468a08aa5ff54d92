"""PyTorch's trajectories of the four optimizers, for tests that run without PyTorch.

``python plugins/optimizers/tests/make_reference.py`` (needs torch) writes reference.json beside
this file: for every case and dtype the parameters after the steps in CHECKPOINTS, as exact
hexadecimal floats. The gradients come from the library's own generator, so a test can draw the
same ones without PyTorch.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from agnostic_dl import random

HERE = Path(__file__).parent
REFERENCE = HERE / "reference.json"
CHECKPOINTS = (1, 2, 10, 100, 1000)
SIZE = 8

#: Case → the optimizer's name, its hyperparameters, PyTorch's class and the same numbers there.
CASES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "sgd": ("sgd", {"learning_rate": 0.01}, "SGD", {"lr": 0.01}),
    "momentum": (
        "momentum", {"learning_rate": 0.01, "momentum": 0.9}, "SGD", {"lr": 0.01, "momentum": 0.9},
    ),
    "momentum-nesterov": (
        "momentum", {"learning_rate": 0.01, "momentum": 0.9, "nesterov": True},
        "SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True},
    ),
    "adagrad": ("adagrad", {"learning_rate": 0.01}, "Adagrad", {"lr": 0.01}),
    "adagrad-large-eps": (
        "adagrad", {"learning_rate": 0.1, "eps": 1e-2}, "Adagrad", {"lr": 0.1, "eps": 1e-2},
    ),
    "adam": ("adam", {"learning_rate": 0.001}, "Adam", {"lr": 0.001}),
    "adam-other-betas": (
        "adam", {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.99, "eps": 1e-3},
        "Adam", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3},
    ),
}  # fmt: skip


def start(dtype: str) -> np.ndarray:
    """The parameters before the first step: magnitudes in [0.5, 1], both signs."""
    drawn = random.uniform(np, random.key(14), (SIZE,), np.float64, low=0.5)
    return (drawn * np.where(np.arange(SIZE) % 2 == 0, 1.0, -1.0)).astype(dtype)


@cache
def gradient(step: int, dtype: str) -> np.ndarray:
    """The gradient of a step: in [-1, 1) · 10ᵏ, k from -3 on in halves, so scales differ."""
    key = random.fold(random.key(14), "gradient", step)
    drawn = random.uniform(np, key, (SIZE,), np.float64, low=-0.9)  # a drift, so that it travels
    values = (drawn * 10.0 ** (np.arange(SIZE) / 2 - 3)).astype(dtype)
    values.flags.writeable = False
    return values


def torch_trajectory(case: str, dtype: str) -> dict[str, list[str]]:
    """Step → the parameters after it, by PyTorch's optimizer."""
    import torch

    _, _, kind, options = CASES[case]
    param = torch.nn.Parameter(torch.from_numpy(start(dtype)))
    optimizer = getattr(torch.optim, kind)([param], **options)
    found = {}
    for step in range(1, CHECKPOINTS[-1] + 1):
        param.grad = torch.from_numpy(gradient(step, dtype).copy())
        optimizer.step()
        if step in CHECKPOINTS:
            found[str(step)] = [float(value).hex() for value in param.detach()]
    return found


def main() -> None:
    """Write reference.json."""
    import torch

    table = {
        case: {dtype: torch_trajectory(case, dtype) for dtype in ("float64", "float32")}
        for case in CASES
    }
    content = {"made_by": f"torch {torch.__version__}", "trajectories": table}
    REFERENCE.write_text(json.dumps(content, indent=0) + "\n")


if __name__ == "__main__":
    main()
