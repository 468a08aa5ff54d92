"""The picture of a learning-rate range test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agnostic_dl.viz.figures import TEST_COLOR, TRAIN_COLOR, new_figure


def range_test_figure(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float,
    optimizer: str,
) -> Any:  # fmt: skip
    """A figure of the loss over the learning rate, with the suggested rate."""
    figure = new_figure(5.4, 3.6)
    axes = figure.subplots()
    axes.plot(rates, losses, color=TRAIN_COLOR, alpha=0.35, linewidth=1, label="loss of the step")
    axes.plot(rates, smoothed, color=TRAIN_COLOR, linewidth=1.8, label="smoothed")
    axes.axvline(suggestion, color=TEST_COLOR, label=f"suggestion: {suggestion:.3g}")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_title(f"range test of {optimizer}", loc="left")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
