"""Whole steps: captured, replayed, beside NumPy's, and on MNIST."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import CaptureWarning
from gpu_checks.bench import Bench
from gpu_checks.exactness import replayed


def replay(bench: Bench) -> dict[str, Any]:
    """Replays of a captured product and rectifier, with other allocations in between."""
    junk: list[Any] = []

    def pollute() -> None:
        junk.append(bench.xp.full((64, 64), float("nan"), dtype=bench.backend.dtypes["float32"]))
        del junk[:-3]

    return {"replays equal eager": replayed(bench, pollute)}


def graphs(bench: Bench) -> dict[str, Any]:
    """Captured steps of batches of several sizes, with allocations in between, equal eager ones.

    A step that could not be captured is an error here.
    """
    found: dict[str, Any] = {}
    for name in ("adam", "momentum"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", CaptureWarning)
            captured = _steps(bench, name, capture=True)
        eager = _steps(bench, name, capture=False)
        np.testing.assert_allclose(captured, eager, rtol=1e-4, err_msg=name)
        found[name] = {"captured": captured, "eager": eager}
        bench.note(found)
    return found


def _steps(bench: Bench, name: str, capture: bool) -> list[float]:
    draw = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(16 * 16, 10),
    ).init(0)  # fmt: skip
    step = adl.train_step(model, "cross_entropy", adl.optimizer(name), capture=capture, seed=0)
    losses, sizes = [], (32, 7, 19)
    for k in range(bench.pick(30, 12)):
        n = sizes[k % 3]
        x = draw.random((n, 8, 8, 3), dtype=np.float32)
        losses.append(float(bench.backend.to_numpy(step(x, draw.integers(0, 10, n)))))
        bench.xp.full((1 << 10, k + 1), float("nan"), dtype=bench.backend.dtypes["float32"])
    if step.captured is not capture:
        raise AssertionError(f"captured: {step.captured}, expected {capture}")
    return losses


def training(bench: Bench) -> dict[str, Any]:
    """Losses of the same run here and on NumPy: within 1e-4 relative over 100 steps."""
    result = {}
    for name, shape in (("lenet", (28, 28, 1)), ("adam-paper-cnn", (32, 32, 3))):
        steps, batch = bench.pick((100, 32), (2, 2))
        shape = bench.pick(shape, (16, 16, shape[2]))
        ours, theirs = (_losses(b, name, shape, steps, batch) for b in (bench.backend, bench.host))
        gap = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))
        if not gap <= 1e-4:
            raise AssertionError(f"{name}: the losses differ by {gap:.1e}, allowed is 1e-4")
        result[name] = {"steps": steps, "largest relative difference": gap, "last loss": ours[-1]}
    return result


def _losses(backend: Any, name: str, shape: Any, steps: int, batch: int) -> list[float]:
    draw = np.random.default_rng(0)
    with adl.use_backend(backend):
        model = adl.models.create(name, input_shape=shape, classes=10)
        model.init(0)
        step = adl.train_step(model, adl.losses.cross_entropy, adl.optimizer("adam"), seed=0)
        losses = []
        for _ in range(steps):
            x = backend.asarray(draw.random((batch, *shape), dtype=np.float32))
            y = backend.asarray(draw.integers(0, 10, batch))
            losses.append(float(backend.to_numpy(step(x, y))))
    return losses


def mnist(bench: Bench) -> dict[str, Any]:
    """LeNet on MNIST: at least 98.8 % of the test set."""
    if bench.dry or not bench.mnist:
        return {"skipped": "needs a GPU and --mnist FOLDER, the four IDX files"}
    data = adl.data.load(bench.mnist)
    model = adl.models.create("lenet", input_shape=(28, 28, 1), classes=10)
    trainer = adl.Trainer(model, adl.optimizer("adam"), backend="cupy", seed=0)
    trainer.fit(data.train, epochs=5, batch_size=128)
    accuracy = trainer.evaluate(data.test)["accuracy"]
    if not accuracy >= 0.988:
        raise AssertionError(f"accuracy {accuracy}, expected at least 0.988")
    return {"accuracy": accuracy}
