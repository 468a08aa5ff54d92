"""Does it minimise? A quadratic is judged; Rosenbrock's function and a small CNN are reported."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from agnostic_dl.optim.raw import raw_update, scalar_arrays
from agnostic_dl.testing.report import Broken, NotRun
from agnostic_dl.testing.walks import Subject, any_library

#: From 1e-4 to 30, in steps of about 3.
RATES = tuple(base * 10.0**power for power in range(-4, 2) for base in (1.0, 3.0))
STEPS = 200

Problem = Callable[[Any, Any], tuple[Any, Any]]


def _quadratic(xp: Any, x: Any) -> tuple[Any, Any]:
    """½ Σ aᵢ (xᵢ - 1)² with curvatures aᵢ from 0.5 to 5, and its gradient."""
    count = math.prod(x.shape)
    curvature = xp.reshape(xp.linspace(0.5, 5.0, count, dtype=x.dtype), x.shape)
    gap = x - 1.0
    return 0.5 * xp.sum(curvature * gap * gap), curvature * gap


def _rosenbrock(xp: Any, x: Any) -> tuple[Any, Any]:
    """(1 - x)² + 100 (y - x²)², and its gradient."""
    a, b = x[0], x[1]
    valley = b - a * a
    gradient = xp.stack([-2.0 * (1.0 - a) - 400.0 * a * valley, 200.0 * valley])
    return (1.0 - a) ** 2 + 100.0 * valley**2, gradient


def _fall(optimizer: Any, problem: Problem, start: Any, rate: float, steps: int) -> float:
    """The loss after *steps* at one learning rate; infinite where it diverges."""
    xp, param = any_library().xp, start
    state = optimizer.init(xp, param)
    for t in range(1, steps + 1):
        loss, grad = problem(xp, param)
        if not math.isfinite(float(loss)) or float(loss) > 1e12:
            return math.inf
        numbers = scalar_arrays(optimizer, xp, rate, t, param.dtype)
        param, state = raw_update(optimizer, xp, param, grad, state, numbers)
    loss = float(problem(xp, param)[0])
    return loss if math.isfinite(loss) else math.inf


def _best(optimizer: Any, problem: Problem, start: Any, steps: int) -> tuple[float, float, float]:
    """(first loss, lowest last loss, the rate that gave it) over the grid."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a rate that is too large overflows, and is passed over
        first = float(problem(any_library().xp, start)[0])
        last = [(_fall(optimizer, problem, start, rate, steps), rate) for rate in RATES]
    lowest, rate = min(last)
    return first, lowest, rate


def convergence(subject: Subject) -> str:
    """The loss on a quadratic falls tenfold in 200 steps at the best rate of a small grid."""
    lib = any_library()
    first, last, rate = _best(subject.optimizer, _quadratic, lib.array((6, 4), 3), STEPS)
    if not last < first / 10:
        raise Broken(
            f"a quadratic went from {first:.3g} to {last:.3g} at best ({STEPS} steps, learning "
            f"rates {RATES[0]:g} to {RATES[-1]:g}): expected a tenth"
        )
    return f"a quadratic from {first:.3g} to {last:.2g} at learning rate {rate:g}"


def rosenbrock(subject: Subject) -> str:
    """Rosenbrock's function after 500 steps, at the best rate of the grid."""
    lib = any_library()
    start = lib.xp.asarray([-1.2, 1.0], dtype=lib.best)
    first, last, rate = _best(subject.optimizer, _rosenbrock, start, 500)
    return f"from {first:.3g} to {last:.2g} at learning rate {rate:g}"


def small_cnn(subject: Subject) -> str:
    """A small CNN on the digits after 30 steps, at the best of three rates."""
    rates = _three_rates(subject.optimizer)
    try:
        from agnostic_dl.data import load

        data = load("digits").train
        x, y = data[range(256)]
        found = [(_train(subject.optimizer, rate, x, y), rate) for rate in rates]
    except (ImportError, RuntimeError) as error:
        raise NotRun(f"digits could not be trained on: {error}") from error
    (first, last), rate = min(found, key=lambda pair: pair[0][1])
    return f"loss {first:.2f} to {last:.2f} at learning rate {rate:g}"


def _three_rates(optimizer: Any) -> Sequence[float]:
    rate = optimizer.learning_rate
    middle = float(rate) if not callable(rate) else 1e-2
    return (middle, middle * 10, middle * 100)


def _train(optimizer: Any, rate: float, x: Any, y: Any) -> tuple[float, float]:
    from agnostic_dl import nn
    from agnostic_dl.train import train_step

    model = nn.Sequential(
        nn.Conv2d(x.shape[-1], 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8 * (x.shape[1] // 2 - 1) * (x.shape[2] // 2 - 1), 10),
    )  # fmt: skip
    step = train_step(model, "cross_entropy", dataclasses.replace(optimizer, learning_rate=rate))
    losses = []
    for number in range(30):
        part = slice(64 * (number % 4), 64 * (number % 4) + 64)
        losses.append(float(step(x[part], y[part])))
    last = losses[-1]
    return losses[0], last if math.isfinite(last) else math.inf
