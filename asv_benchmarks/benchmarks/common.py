"""What the benchmarks share: backends with their reasons to be absent, models, batches, steps.

Everything goes through the library's public names, so that older commits can be measured too.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import agnostic_dl as adl

ROOT = Path(__file__).resolve().parents[2]
#: Without kernel plugins, with all that are installed, the standard alone, and a GPU.
BACKENDS = ("numpy", "numpy+kernels", "strict", "cupy")
SHAPES = {
    "mlp": (28, 28, 1), "lenet": (28, 28, 1),
    "adam-paper-cnn": (32, 32, 3), "resnet20": (32, 32, 3),
}  # fmt: skip
MODELS = tuple(SHAPES)
BATCHES = (32, 128, 512)


class Skip(NotImplementedError):
    """A benchmark cannot run here, for the reason given: asv shows n/a."""


def _parts(kernel: Any) -> tuple[Any, ...]:
    """The kernels that one of a backend's mapping chooses among."""
    return tuple(getattr(kernel, "kernels", (kernel,)))


def open_backend(label: str) -> Any:
    """Make that backend the current one, with kernel plugins where its label says so."""
    name, _, kernels = label.partition("+")
    info = next((info for info in adl.list_backends() if info.name == name), None)
    if info is None:
        raise Skip(f"{name}: no plugin offers this backend")
    if info.reason is not None:
        raise Skip(f"{name}: {info.reason}")
    backend = adl.use_backend(name, kernels=()).backend
    if not kernels:
        return backend
    faster = adl.use_backend(name).backend
    same = all(_parts(backend.kernels.get(n)) == _parts(k) for n, k in faster.kernels.items())
    if same and len(getattr(faster, "rewrites", ())) == len(getattr(backend, "rewrites", ())):
        raise Skip(f"{label}: no kernel of a plugin can be used; see agnostic-dl plugins doctor")
    return faster


def only_small(label: str, smallest: bool) -> None:
    """Skip strict on all sizes but the smallest."""
    if label == "strict" and not smallest:
        raise Skip("strict checks, and is slow at it: it is measured at the smallest size only")


def arrays(backend: Any, *shapes: tuple[int, ...], seed: int = 0) -> list[Any]:
    """Float32 normals of these shapes on the backend."""
    draw = np.random.default_rng(seed)
    return [backend.asarray(draw.standard_normal(s, dtype=np.float32)) for s in shapes]


def batch(backend: Any, model: str, size: int) -> tuple[Any, Any]:
    """Images and labels for a model."""
    (x,) = arrays(backend, (size, *SHAPES[model]))
    return x, backend.asarray(np.random.default_rng(1).integers(0, 10, size))


def network(model: str) -> Any:
    """The model with its first weights, on the current backend."""
    return adl.models.create(model, input_shape=SHAPES[model], classes=10).init(0)


def step_of(model: Any, loss: Any, optimizer: Any, *, capture: bool) -> Any:
    """A training step, captured or eager; commits from before captures have eager ones only."""
    options = {"capture": capture} if "capture" in _step_options() else {}
    if capture and not options:
        raise Skip("training steps are not captured at this commit")
    return adl.train_step(model, loss, optimizer, **options)


@functools.cache
def _step_options() -> frozenset[str]:
    return frozenset(inspect.signature(adl.train_step).parameters)


def warm(step: Any, x: Any, y: Any, *, capture: bool) -> None:
    """Past the recordings: the next step is like all that follow."""
    for _ in range(3):
        step(x, y)
    if capture and not step.captured:
        raise RuntimeError("the step could not be captured; asv --show-stderr shows why")


def script(name: str) -> Any:
    """A module of the repository's benchmarks/ or tools/, which this suite shares code with."""
    for folder in ("benchmarks", "tools"):
        if str(ROOT / folder) not in sys.path:
            sys.path.append(str(ROOT / folder))
    return importlib.import_module(name)


def ratio_of_medians(numerator: Any, denominator: Any, *, rounds: int) -> float:
    """Of two functions that take turns, the first's median time over the second's."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for run, kept in zip((numerator, denominator), times, strict=True):
            started = time.perf_counter()
            run()
            kept.append(time.perf_counter() - started)
    first, second = (statistics.median(kept[1:]) for kept in times)  # the first round warms up
    return first / second
