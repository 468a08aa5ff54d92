"""PyTorch's steps on the same rows: eager and compiled, in both layouts, with each of its Adams."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import agnostic_dl as adl
from peers.rows import Problem, Row, problem, tensors, way
from peers.steps import Step, of_loss, of_update
from peers.torch_models import twin


def step(
    row: Row, make: Callable[[Row], Problem] = problem, *, channels_last: bool = False,
    compiled: str = "", implementation: str = "",
) -> Step:  # fmt: skip
    """The row's step.

    *compiled*: nothing, "network", or "all" with the optimizer's step; *implementation* of the
    optimizer: "fused", "foreach" or what PyTorch takes by itself.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    if row.update_only:
        return _update(row, implementation)
    with adl.use_backend("numpy", kernels=()):
        model, x, y = make(row)
    network: Any = twin(model)
    images = torch.tensor(np.transpose(x, (0, 3, 1, 2)).copy() if x.ndim == 4 else x)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = optimizer_of(row, network.parameters(), implementation)
    forward = torch.compile(network) if compiled else network
    update = torch.compile(optimizer.step) if compiled == "all" else optimizer.step
    labels = torch.tensor(y)

    def loss() -> float:
        optimizer.zero_grad()
        found = torch.nn.functional.cross_entropy(forward(images), labels)
        found.backward()
        update()
        return float(found.item())

    return of_loss(loss)


def optimizer_of(row: Row, parameters: Any, implementation: str) -> Any:
    """The row's optimizer in one of PyTorch's implementations."""
    chosen = {implementation: True} if implementation else {}
    if row.optimizer == "momentum":
        return torch.optim.SGD(parameters, lr=row.rate, momentum=0.9, **chosen)
    return torch.optim.Adam(parameters, lr=row.rate, **chosen)


def _update(row: Row, implementation: str) -> Step:
    start, grads = tensors(row)
    params = {name: torch.nn.Parameter(torch.tensor(array)) for name, array in start.items()}
    for name, parameter in params.items():
        parameter.grad = torch.tensor(grads[name])
    optimizer = optimizer_of(row, list(params.values()), implementation)

    def gone() -> float:
        return way({name: parameter.detach().numpy() for name, parameter in params.items()}, start)

    return of_update(optimizer.step, gone)
