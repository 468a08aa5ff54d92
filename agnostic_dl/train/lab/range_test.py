"""The learning-rate range test: a short run whose rate rises until the loss explodes."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

from agnostic_dl.backends import get_backend, use_backend
from agnostic_dl.errors import UsageError
from agnostic_dl.optim.schedules import Schedule, State
from agnostic_dl.primitives import library_of
from agnostic_dl.train import batches
from agnostic_dl.train.lab.entry import entries
from agnostic_dl.train.lab.phases import smoothed
from agnostic_dl.train.step import train_step

_EXPLODED = 4.0  # times the least loss


@dataclass(frozen=True)
class exponential(Schedule):
    """From *first* to *last* by a constant factor over *steps* steps."""

    first: float
    last: float
    steps: int

    def value(self, step: int, state: State) -> float:
        """The learning rate of a step."""
        share = min((step - 1) / max(self.steps - 1, 1), 1.0)
        return self.first * (self.last / self.first) ** share


@dataclass(frozen=True)
class RangeTest:
    """The losses of the rates that were tried, and the rate to begin with.

    *suggestion*: where the smoothed loss falls most steeply per factor of the rate; *largest*: the
    rate of the least smoothed loss, which is too large already for a long run.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float
    largest: float
    optimizer: str

    def plot(self) -> Any:
        """A figure of the loss over the rate with the suggestion."""
        from agnostic_dl import viz

        return viz.range_test_figure(
            self.rates, self.losses, self.smoothed, self.suggestion, self.optimizer
        )


def range_test(
    model: Any, data: Any, optimizer: Any = "adam", *, loss: Any = "cross_entropy",
    first: float = 1e-6, last: float = 10.0, steps: int = 100, batch_size: int = 128,
    seed: int = 0, backend: str | None = None,
) -> RangeTest:  # fmt: skip
    """Try learning rates from *first* to *last*, one for each step, and suggest one.

    The model's weights are put back afterwards. *data*: as for `Trainer.fit`; *optimizer*: a name
    or an optimizer, whose own rate does not matter. The test ends when the loss has exploded.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3.
    """
    if not 0 < first < last or steps < 10:
        raise UsageError("range_test: expected 0 < first < last and at least 10 steps")
    source = batches.as_source(data, "train")
    size = min(batch_size, len(source))
    batches.check_batch_size(size, len(source))
    entry = entries([optimizer])[0]
    with use_backend(get_backend(backend)):
        if not model.initialized:
            model.init(seed, missing_only=True)
        before = {n: _copied(array) for n, array in model.state_dict().items()}
        try:
            rule = entry.make(exponential(first, last, steps))
            rates, losses = _try(
                train_step(model, loss, rule, seed=seed), source, size, seed, steps
            )
        finally:
            model.load_state_dict(before)
    return _judged(rates, losses, entry.label)


def _copied(array: Any) -> Any:
    """A copy that no step can take over."""
    return library_of("range_test", (array,))[1].asarray(array, copy=True)


def _try(
    step: Any, source: Any, size: int, seed: int, steps: int
) -> tuple[list[float], list[float]]:
    rates: list[float] = []
    losses: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # exploding is what it is for
        for part in _parts(step.backend, source, size, seed, steps):
            rate, (x, y) = step.learning_rate, source[part]
            value = float(step(x, y))
            if not math.isfinite(value) or (losses and value > _EXPLODED * max(min(losses), 0.1)):
                break
            rates.append(rate)
            losses.append(value)
    return rates, losses


def _parts(backend: Any, source: Any, size: int, seed: int, steps: int) -> Any:
    """Indices of *steps* full batches, over as many epochs as that takes."""
    made, epoch = 0, 0
    while made < steps:
        epoch += 1
        order = batches.shuffled(backend, seed, epoch, len(source))
        for start in range(0, len(source) - size + 1, size):
            if made < steps:
                yield order[start : start + size]
            made += 1


def _judged(rates: list[float], losses: list[float], label: str) -> RangeTest:
    if len(losses) < 5:
        raise UsageError(
            f"range_test: the loss exploded after {len(losses)} steps: begin with a smaller first="
        )
    curve = smoothed(losses)
    least = curve.index(min(curve))
    slopes = [
        (curve[k + 1] - curve[k - 1]) / math.log(rates[k + 1] / rates[k - 1])
        for k in range(1, max(least, 2))
        if k + 1 < len(curve)
    ]
    steepest = 1 + slopes.index(min(slopes))
    return RangeTest(rates, losses, curve, rates[steepest], rates[least], label)
