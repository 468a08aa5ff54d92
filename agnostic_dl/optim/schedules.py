"""Learning-rate schedules: each stands wherever a learning rate may stand.

A schedule is an immutable description; what it remembers (only the plateau does) is a small dict
that the engine keeps and a checkpoint stores. Steps count from 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agnostic_dl.errors import UsageError

State = dict[str, float]
#: One number, or several by name ("loss", "accuracy") of which a schedule takes its own.
Metric = float | Mapping[str, float]


class Schedule:
    """Base: a subclass gives `value(step, state)`."""

    def init(self) -> State:
        """What the schedule remembers before the first step."""
        return {}

    def observe(self, state: State, metric: Metric) -> State:
        """What it remembers after validation has given *metric*."""
        return state

    def value(self, step: int, state: State) -> float:
        """The learning rate of a step."""
        raise NotImplementedError

    def __call__(self, step: int, state: State | None = None) -> float:
        """The learning rate of step number *step*, which counts from 1."""
        return self.value(step, self.init() if state is None else state)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def check_rate(learning_rate: Any) -> None:
    """Refuse what is neither a positive finite number nor a schedule."""
    if callable(learning_rate):
        return
    try:
        value = float(learning_rate)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"learning_rate: expected a positive number or a schedule, got {learning_rate!r}"
        ) from error
    _require(
        math.isfinite(value) and value > 0,
        f"learning_rate: expected a positive number, got {learning_rate!r}",
    )


def _rate(rate: float | Schedule, step: int, state: State) -> float:
    return rate.value(step, state) if isinstance(rate, Schedule) else float(rate)


@dataclass(frozen=True)
class constant(Schedule):
    """Always *learning_rate*."""

    learning_rate: float

    def __post_init__(self) -> None:
        check_rate(self.learning_rate)

    def value(self, step: int, state: State) -> float:
        """The learning rate of a step."""
        return float(self.learning_rate)


@dataclass(frozen=True)
class step_decay(Schedule):
    """learning_rate · factor^⌊(step - 1) / every⌋."""

    learning_rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_rate(self.learning_rate)
        _require(self.every >= 1, f"step_decay: every must be at least 1, got {self.every}")
        _require(self.factor > 0, f"step_decay: factor must be positive, got {self.factor}")

    def value(self, step: int, state: State) -> float:
        """The learning rate of a step."""
        return float(self.learning_rate * self.factor ** ((step - 1) // self.every))


@dataclass(frozen=True)
class cosine(Schedule):
    """From *learning_rate* to *final* along half a cosine over *steps* steps, then *final*.

    Source: Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, without restarts.
    """

    learning_rate: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        check_rate(self.learning_rate)
        _require(self.steps >= 1, f"cosine: steps must be at least 1, got {self.steps}")
        _require(self.final >= 0, f"cosine: final must not be negative, got {self.final}")

    def value(self, step: int, state: State) -> float:
        """The learning rate of a step."""
        progress = min((step - 1) / self.steps, 1.0)
        wave = 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.final + (self.learning_rate - self.final) * wave


@dataclass(frozen=True)
class linear_warmup(Schedule):
    """Rise linearly for *steps* steps to what *then*, a number or a schedule, gives; follow it.

    *then* counts its own steps from the end of the warm-up.
    """

    then: float | Schedule
    steps: int

    def __post_init__(self) -> None:
        check_rate(self.then)
        _require(self.steps >= 1, f"linear_warmup: steps must be at least 1, got {self.steps}")

    def init(self) -> State:
        """What *then* remembers."""
        return self.then.init() if isinstance(self.then, Schedule) else {}

    def observe(self, state: State, metric: Metric) -> State:
        """What *then* remembers."""
        return self.then.observe(state, metric) if isinstance(self.then, Schedule) else state

    def value(self, step: int, state: State) -> float:
        """The learning rate of a step."""
        top = _rate(self.then, max(step - self.steps, 1), state)
        return top * min(step / self.steps, 1.0)


@dataclass(frozen=True)
class hold_then_decay(Schedule):
    """Hold *learning_rate* until step *t_max*, then decay it as t_max / step.

    After the hold the rate falls like 1 / t, the classical condition for convergence (Σ α = ∞,
    Σ α² < ∞) of Robbins and Monro, 1951.
    """

    learning_rate: float
    t_max: int

    def __post_init__(self) -> None:
        check_rate(self.learning_rate)
        _require(self.t_max >= 1, f"hold_then_decay: t_max must be at least 1, got {self.t_max}")

    def value(self, step: int, state: State) -> float:
        """The learning rate of a step."""
        return float(self.learning_rate * min(1.0, self.t_max / step))


@dataclass(frozen=True)
class inverse_sqrt(Schedule):
    """learning_rate / √step.

    Source: Kingma and Ba, "Adam", ICLR 2015, corollary 4.2 and section 6.1.
    """

    learning_rate: float

    def __post_init__(self) -> None:
        check_rate(self.learning_rate)

    def value(self, step: int, state: State) -> float:
        """The learning rate of a step."""
        return float(self.learning_rate / math.sqrt(step))


@dataclass(frozen=True)
class reduce_on_plateau(Schedule):
    """Multiply by *factor* when the metric has not improved for more than *patience* observations.

    Watches *metric* of the validation, smaller being better (mode "max" for an accuracy). An
    improvement beats the best value by the relative *threshold*. After a cut, *cooldown*
    observations pass before bad ones count again; the rate does not fall below
    *min_learning_rate*. The rules are those of PyTorch's ReduceLROnPlateau with eps=0.
    """

    learning_rate: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    min_learning_rate: float = 0.0
    mode: str = "min"
    metric: str = "loss"

    def __post_init__(self) -> None:
        check_rate(self.learning_rate)
        _require(0 < self.factor < 1, f"reduce_on_plateau: factor in (0, 1), got {self.factor}")
        _require(self.mode in ("min", "max"), f"mode: 'min' or 'max', got {self.mode!r}")

    def init(self) -> State:
        """No metric seen yet."""
        best = math.inf if self.mode == "min" else -math.inf
        return {"learning_rate": float(self.learning_rate), "best": best, "bad": 0, "cooldown": 0}

    def observe(self, state: State, metric: Metric) -> State:
        """Count a metric; cut the rate when patience has run out."""
        value, new = self._own(metric), dict(state)
        if self._improves(value, state["best"]):
            new["best"], new["bad"] = value, 0
        else:
            new["bad"] += 1
        if new["cooldown"] > 0:
            new["cooldown"] -= 1
            new["bad"] = 0
        if new["bad"] > self.patience:
            new["learning_rate"] = max(state["learning_rate"] * self.factor, self.min_learning_rate)
            new["cooldown"], new["bad"] = self.cooldown, 0
        return new

    def _own(self, metric: Metric) -> float:
        if not isinstance(metric, Mapping):
            return float(metric)
        known = ", ".join(metric)
        _require(self.metric in metric, f"reduce_on_plateau: no {self.metric!r} among {known}")
        return float(metric[self.metric])

    def _improves(self, metric: float, best: float) -> bool:
        if math.isinf(best):
            return not math.isnan(metric)
        if self.mode == "min":
            return metric < best * (1 - self.threshold)
        return metric > best * (1 + self.threshold)

    def value(self, step: int, state: State) -> float:
        """The learning rate now: it changes with observations, not with steps."""
        return state["learning_rate"]
