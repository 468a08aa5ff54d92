"""One candidate in a process of its own: prints a line for each line that it is given.

    python -m peers.candidates CANDIDATE ROW

"losses N" → the losses of the next N steps; "time N" → the seconds of each of N steps.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import agnostic_dl as adl

BATCH = 128
#: Row → model and shape of a picture; "S" is a tiny network on vectors.
ROWS: dict[str, tuple[str, tuple[int, ...]]] = {
    "W1": ("mlp", (28, 28, 1)), "W2": ("lenet", (28, 28, 1)),
    "W3": ("adam-paper-cnn", (32, 32, 3)), "W4": ("resnet20", (32, 32, 3)),
    "S": ("tiny", (4,)),
}  # fmt: skip
RATE = 1e-4


def problem(row: str) -> tuple[Any, Any, Any]:
    """A network of ours with its first weights, and a batch."""
    name, shape = ROWS[row]
    draw = np.random.default_rng(0)
    batch, classes = (8, 3) if name == "tiny" else (BATCH, 10)
    if name == "tiny":
        nn = adl.nn
        model = nn.Sequential(fc1=nn.Linear(4, 16), relu=nn.ReLU(), fc2=nn.Linear(16, 3))
    else:
        options = {"dropout": 0.0} if name == "mlp" else {}
        model = adl.models.create(name, input_shape=shape, classes=classes, **options)
        kept = {n: p for n, p in model.layers.items() if not n.startswith("dropout")}
        model.layers = kept
    x = draw.normal(size=(batch, *shape)).astype(np.float32)
    return model.init(0), x, draw.integers(0, classes, batch)


def ours(row: str, kernels: tuple[str, ...] | None) -> Callable[[], float]:
    """Our captured step, as a user would write it."""
    adl.use_backend("numpy", kernels=kernels)
    model, x, y = problem(row)
    step = adl.train_step(model, "cross_entropy", adl.optimizer("adam", learning_rate=RATE))
    return lambda: float(step(x, y))


def torch_step(row: str, *, channels_last: bool = False, compiled: bool = False,
               fused: bool = False) -> Callable[[], float]:  # fmt: skip
    """PyTorch's step on the same network and batch."""
    import torch

    from peers.torch_models import twin

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    model, x, y = problem(row)
    network: Any = twin(model)
    images = torch.tensor(np.transpose(x, (0, 3, 1, 2)).copy() if x.ndim == 4 else x)
    if channels_last and x.ndim == 4:
        network = network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.tensor(y)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=fused or None)
    forward = torch.compile(network) if compiled else network

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


CANDIDATES: dict[str, Callable[[str], Callable[[], float]]] = {
    "numpy": lambda row: ours(row, ()),
    "numpy+kernels": lambda row: ours(row, None),
    "torch": lambda row: torch_step(row),
    "torch channels_last": lambda row: torch_step(row, channels_last=True),
    "torch fused": lambda row: torch_step(row, fused=True),
    "torch compile": lambda row: torch_step(row, compiled=True),
}


def main() -> None:
    step = CANDIDATES[sys.argv[1]](sys.argv[2])
    for line in sys.stdin:
        what, count = line.split()
        found = []
        for _ in range(int(count)):
            started = time.perf_counter()
            loss = step()
            found.append(loss if what == "losses" else time.perf_counter() - started)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
