"""A full training step with Adam against PyTorch eager, interleaved in one process.

    python benchmarks/train_step.py [--models lenet,adam-paper-cnn,mlp] [--rounds 10] [--json FILE]

Both sides start from the same weights and see the same batch (128 examples, float32); the losses of
the first three steps are compared before anything is timed. Medians over the rounds; the ratio is
the median of the rounds' own ratios, ours / PyTorch's.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import agnostic_dl as adl

SHAPES = {"lenet": (28, 28, 1), "adam-paper-cnn": (32, 32, 3), "mlp": (28, 28, 1)}


def torch_twin(model: Any, shape: tuple[int, int, int]) -> torch.nn.Module:
    """The same layers in PyTorch with the same weights, NCHW inside, NHWC where it flattens."""
    layers: list[torch.nn.Module] = []
    for layer in model.layers.values():
        kind = type(layer).__name__
        if kind == "Conv2d":
            twin: Any = torch.nn.Conv2d(
                layer.in_channels, layer.out_channels, layer.kernel_size, padding="same"
            )
            twin.weight.data = torch.tensor(np.transpose(layer.weight.data, (3, 2, 0, 1)).copy())
            twin.bias.data = torch.tensor(layer.bias.data)
        elif kind == "Linear":
            twin = torch.nn.Linear(layer.in_features, layer.out_features)
            twin.weight.data = torch.tensor(layer.weight.data.T.copy())
            twin.bias.data = torch.tensor(layer.bias.data)
        elif kind == "MaxPool2d":
            twin = torch.nn.MaxPool2d(layer.kernel_size, layer.stride)
        else:
            twin = {"ReLU": torch.nn.ReLU, "Flatten": ChannelsLastFlatten}[kind]()
        layers.append(twin)
    return torch.nn.Sequential(*layers)


class ChannelsLastFlatten(torch.nn.Module):
    """(N, C, H, W) → (N, H · W · C), the order of our linear weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x.flatten(1)


def torch_step(model: torch.nn.Module, x: np.ndarray, y: np.ndarray) -> Callable[[], float]:
    images = torch.tensor(np.transpose(x, (0, 3, 1, 2)).copy())
    labels, optimizer = torch.tensor(y), torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def pair(name: str, batch: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """Our step and PyTorch's, from the same weights on the same batch."""
    shape = SHAPES[name]
    options = {"dropout": 0.0} if name == "mlp" else {}
    model = adl.models.create(name, input_shape=shape, classes=10, **options).init(0)
    if name == "mlp":
        model.layers = {n: p for n, p in model.layers.items() if not n.startswith("dropout")}
    rng = np.random.default_rng(0)
    x = rng.random((batch, *shape), dtype=np.float32)
    y = rng.integers(0, 10, batch)
    twin = torch_twin(model, shape)
    step = adl.train_step(
        model, adl.losses.cross_entropy, adl.optimizer("adam", learning_rate=1e-4)
    )
    return lambda: float(step(x, y)), torch_step(twin, x, y)


def compare(name: str, rounds: int, batch: int) -> dict[str, Any]:
    ours, theirs = pair(name, batch)
    for number in range(3):
        a, b = ours(), theirs()
        if not math.isclose(a, b, rel_tol=1e-4):
            raise SystemExit(f"{name}: losses differ in step {number + 1}: {a} and {b}")
    times: list[tuple[float, float]] = []
    for number in range(rounds):
        first, second = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        seconds = [_time(first), _time(second)]
        times.append((seconds[0], seconds[1]) if number % 2 == 0 else (seconds[1], seconds[0]))
    return {
        "model": name,
        "ours_ms": 1e3 * statistics.median(t[0] for t in times),
        "torch_ms": 1e3 * statistics.median(t[1] for t in times),
        "ratio": statistics.median(a / b for a, b in times),
        "rounds": rounds,
    }


def _time(step: Callable[[], float], repeats: int = 3) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - started) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(SHAPES))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [compare(name, options.rounds, options.batch) for name in options.models.split(",")]
    for row in rows:
        print(f"{row['model']:<16}{row['ours_ms']:8.1f} ms  PyTorch {row['torch_ms']:8.1f} ms  "
              f"ratio {row['ratio']:.2f}")  # fmt: skip
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    if options.json:
        result = {"rows": rows, "threads": torch.get_num_threads(), **versions,
                  "torch": torch.__version__}  # fmt: skip
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
