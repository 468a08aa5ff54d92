"""The experiments of Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.

Section 6.1, figure 1 (MNIST): logistic regression; 6.2, figure 2: a network of two layers of 1,000
ReLUs with dropout; 6.3, figure 3: a convolutional network on CIFAR-10. Batches of 128 throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]

NESTEROV = "momentum:nesterov=true"


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, and the check of it against the training losses by epoch."""

    text: str
    check: Callable[[dict[str, list[float]]], tuple[bool, str]]


@dataclass(frozen=True)
class Experiment:
    """A figure of the paper: its task, its optimizers and its claims."""

    section: str
    title: str
    data: str
    model: str
    epochs: int
    optimizers: tuple[str, ...]
    claims: tuple[Claim, ...]
    schedule: str = "constant"
    model_options: Row = field(default_factory=dict)
    least_epochs: int = 2


def last(losses: list[float], count: int = 1) -> float:
    """The mean of the last epochs' losses; infinite for a run that diverged."""
    own = losses[-count:]
    return sum(own) / len(own) if own else math.inf


def like_or_faster(of: str, others: tuple[str, ...], margin: float = 1.05) -> Any:
    """Whether *of* ends at most 5 % above the others' losses."""

    def check(losses: dict[str, list[float]]) -> tuple[bool, str]:
        there = [name for name in others if name in losses]
        ours, best = last(losses[of]), min(last(losses[name]) for name in there)
        text = f"{of} {ours:.4f}; " + ", ".join(f"{n} {last(losses[n]):.4f}" for n in there)
        return bool(there) and ours <= margin * best, text

    return check


def fast_then_slow(slow: str, fast: tuple[str, ...], early: int = 3) -> Any:
    """Whether *slow* keeps up in the first epochs and ends clearly above the others."""

    def check(losses: dict[str, list[float]]) -> tuple[bool, str]:
        begin = {n: last(losses[n][:early]) for n in (slow, *fast) if n in losses}
        end = {n: last(losses[n]) for n in begin}
        keeps_up = begin[slow] <= 1.1 * min(begin[n] for n in begin if n != slow)
        slower = all(end[slow] > 1.1 * end[n] for n in end if n != slow)
        text = "; ".join(f"{n} {begin[n]:.3f} → {end[n]:.3f}" for n in begin)
        return keeps_up and slower, f"epoch {early} → last: {text}"

    return check


EXPERIMENTS = {
    "logistic": Experiment(
        "6.1", "Logistic regression on MNIST, step size α/√t", "mnist", "linear", 45,
        ("adagrad", NESTEROV, "adam"),
        (
            Claim("Adam yields similar convergence as SGD with momentum, and both converge faster "
                  "than AdaGrad: Adam is not behind.",
                  like_or_faster("adam", ("adagrad", NESTEROV))),
            Claim("Both Adam and SGD with momentum converge faster than AdaGrad.",
                  lambda losses: (
                      max(last(losses["adam"]), last(losses[NESTEROV])) < last(losses["adagrad"]),
                      ", ".join(f"{n} {last(own):.4f}" for n, own in losses.items()))),
        ),
        schedule="inverse-sqrt", least_epochs=3,
    ),
    "mlp": Experiment(
        "6.2", "Two hidden layers of 1,000 ReLUs with dropout on MNIST", "mnist", "mlp", 200,
        ("adagrad", "rmsprop", NESTEROV, "adadelta", "adam"),
        (
            Claim("Adam shows better convergence than the other methods.",
                  like_or_faster("adam", ("adagrad", "rmsprop", NESTEROV, "adadelta"), 1.0)),
        ),
    ),
    "cnn": Experiment(
        "6.3", "Convolutional network on CIFAR-10", "cifar10", "adam-paper-cnn", 45,
        ("adagrad", NESTEROV, "adam"),
        (
            Claim("AdaGrad is fast in the first three epochs and then clearly slower than Adam and "
                  "SGD with momentum.", fast_then_slow("adagrad", (NESTEROV, "adam"))),
            Claim("Adam shows marginal improvement over SGD with momentum: Adam is not behind.",
                  like_or_faster("adam", (NESTEROV,))),
        ),
        least_epochs=6,
    ),
    "cnn-dropout": Experiment(
        "6.3", "Convolutional network on CIFAR-10, with dropout", "cifar10", "adam-paper-cnn", 45,
        ("adagrad", NESTEROV, "adam"),
        (
            Claim("The same with dropout: AdaGrad ends clearly slower.",
                  fast_then_slow("adagrad", (NESTEROV, "adam"))),
        ),
        model_options={"dropout": 0.5}, least_epochs=6,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is left of an experiment at a budget, and the words for what was cut."""

    epochs: int
    limit: int | None
    seeds: int
    trials: int
    search_steps: int
    cuts: str


def plan(experiment: Experiment, budget: float, examples: int) -> Plan:
    """Fewer epochs first, then fewer images: *budget* is the share of the paper's steps."""
    wanted = experiment.epochs * budget
    epochs = max(math.ceil(wanted), min(experiment.least_epochs, experiment.epochs))
    share = min(wanted / epochs, 1.0)
    limit = None if share > 0.99 else max(int(share * examples), 1000)
    seeds, trials = (3, 7) if budget >= 0.5 else (1, 5 if budget >= 0.05 else 3)
    steps = max(math.ceil(0.9 * (limit or examples) / 128) * epochs // 6, 20)
    cuts = (
        f"Budget {budget:g} of the paper's steps: {epochs} epochs instead of {experiment.epochs}, "
        f"{'all' if limit is None else f'{limit:,} of the'} {examples:,} training images (a tenth "
        f"of them held out), {seeds} seed{'s' if seeds > 1 else ''}, and a search of {trials} "
        f"learning rates with {steps} steps each instead of a dense grid."
    )
    return Plan(epochs, limit, seeds, trials, steps, cuts)
