"""Whole steps: captured, replayed, beside NumPy's, and on MNIST."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.errors import CaptureWarning
from gpu_checks.bench import Bench, agree, largest
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
        agree(captured, eager, rtol=1e-4, name=name)
        found[name] = {"captured": captured, "eager": eager}
        bench.note(found)
    return found | {"deterministic: the same bits": _repeats(bench)}


def _repeats(bench: Bench) -> bool:
    """In the deterministic mode, which this process then stays in, two runs give one result."""
    bench.backend.pin_threads()
    (first, one), (second, other) = (_trained(bench, "adam", capture=True) for _ in range(2))
    if first != second:
        raise AssertionError(f"two runs in the deterministic mode: {first} and {second}")
    for name, array in one.state_dict().items():
        arrays = (bench.backend.to_numpy(a) for a in (array, other.state_dict()[name]))
        np.testing.assert_array_equal(*arrays, err_msg=name)
    return True


def _steps(bench: Bench, name: str, capture: bool) -> list[float]:
    return _trained(bench, name, capture)[0]


def _trained(bench: Bench, name: str, capture: bool) -> tuple[list[float], Any]:
    """The losses of some steps, and the model after them."""
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
    return losses, model


class Run:
    """A training run of a model of the zoo on one backend, and its batches."""

    def __init__(self, backend: Any, name: str, shape: Any, batch: int) -> None:
        self.backend, self.shape, self.batch = backend, shape, batch
        with adl.use_backend(backend):
            model = adl.models.create(name, input_shape=shape, classes=10).init(0)
            optimizer = adl.optimizer("adam", learning_rate=1e-4)
            self.step = adl.train_step(model, "cross_entropy", optimizer, seed=0)

    def losses(self, first: int, count: int) -> list[float]:
        """Those of *count* steps from number *first* on."""
        with adl.use_backend(self.backend):
            return [self._loss(number) for number in range(first, first + count)]

    def _loss(self, number: int) -> float:
        draw = np.random.default_rng(number)
        x = self.backend.asarray(draw.random((self.batch, *self.shape), dtype=np.float32))
        y = self.backend.asarray(draw.integers(0, 10, self.batch))
        return float(self.backend.to_numpy(self.step(x, y)))

    def go_on_as(self, other: Run) -> None:
        """Take over the state of a run of the same model on another backend."""
        with adl.use_backend(self.backend):
            model = other.step.model.state_dict()
            self.step.model.load_state_dict({n: other.host(a) for n, a in model.items()})
            state = other.step.state
            slots = {
                name: {slot: self.backend.asarray(other.host(a)) for slot, a in kept.items()}
                for name, kept in state["slots"].items()
            }
            self.step.state = {**state, "slots": slots}

    def host(self, array: Any) -> Any:
        return np.array(self.backend.to_numpy(array))


def training(bench: Bench) -> dict[str, Any]:
    """Losses of the same 100 steps here and on NumPy: within 1e-4 relative.

    Every few steps the run here goes on from NumPy's state: rounding that differs in the last place
    grows from step to step, to 3e-3 over 100 steps of adam-paper-cnn between NumPy with and without
    oneDNN. What becomes of it without that is reported.
    """
    result: dict[str, Any] = {}
    for name, shape in (("lenet", (28, 28, 1)), ("adam-paper-cnn", (32, 32, 3))):
        shape = bench.pick(shape, (16, 16, shape[2]))
        result[name] = _differential(bench, name, shape)
        bench.note(result)
        gap = result[name]["largest relative difference"]
        if not gap <= 1e-4:
            raise AssertionError(f"{name}: the losses differ by {gap:.1e}, allowed is 1e-4")
    return result


def _differential(bench: Bench, name: str, shape: Any) -> dict[str, Any]:
    steps, window, batch = bench.pick((100, 4, 32), (8, 4, 2))
    known, ours, alone = (Run(b, name, shape, batch) for b in
                          (bench.host, bench.backend, bench.backend))  # fmt: skip
    theirs: list[float] = []
    found: list[float] = []
    for first in range(0, steps, window):
        ours.go_on_as(known)
        found += ours.losses(first, window)
        theirs += known.losses(first, window)
    return {
        "steps": steps, "from NumPy's state every": window,
        "largest relative difference": _gap(found, theirs),
        "without NumPy's state": _gap(alone.losses(0, steps), theirs), "last loss": found[-1],
    }  # fmt: skip


def _gap(ours: list[float], theirs: list[float]) -> float:
    return largest(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))


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
