"""The figures of reports: lines with their spread, and phases as shaded stretches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from agnostic_dl.viz.figures import new_figure

#: Okabe and Ito's colours, which the colour-blind tell apart; each also has its own dashes.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
DASHES = ("-", "--", "-.", ":")

PHASE_COLORS = {
    "warm-up": "#f3d9b1", "descent": "#d7e8d4", "plateau": "#dfe3ea", "rise": "#f2c6c6",
}  # fmt: skip

Points = Sequence[tuple[float, float]]


def style(place: int) -> dict[str, Any]:
    """Colour and dashes of the line number *place*."""
    return {
        "color": COLORS[place % len(COLORS)],
        "linestyle": DASHES[(place // len(COLORS) + place % 2) % len(DASHES)],
    }


def _figure() -> tuple[Any, Any]:
    """A figure with one panel at a fixed place: fitting the layout would double the time."""
    figure = new_figure(4.8, 3.5)
    figure.set_layout_engine("none")
    return figure, figure.add_axes((0.15, 0.14, 0.82, 0.76))


def spread_figure(
    groups: Mapping[str, Sequence[Points]], title: str, x_label: str, *, log_y: bool = False,
    percent: bool = False,
) -> Any:  # fmt: skip
    """Lines by label: the mean of several runs, with their least and largest value shaded."""
    figure, axes = _figure()
    for place, (label, runs) in enumerate(groups.items()):
        xs, means, low, high = _merged(runs)
        if not xs:
            continue
        look = style(place)
        axes.plot(xs, means, label=label, linewidth=1.6, **look)
        if len(runs) > 1:
            axes.fill_between(xs, low, high, color=look["color"], alpha=0.15, linewidth=0)
    _dress(axes, title, x_label, log_y, percent)
    return figure


def _merged(
    runs: Sequence[Points],
) -> tuple[list[float], list[float], list[float], list[float]]:
    """x, mean, least and largest over runs that were measured at the same places."""
    runs = [run for run in runs if run]
    count = min((len(run) for run in runs), default=0)
    columns = [[run[k] for run in runs] for k in range(count)]
    xs = [sum(x for x, _ in column) / len(column) for column in columns]
    ys = [[y for _, y in column] for column in columns]
    means = [sum(values) / len(values) for values in ys]
    return xs, means, [min(values) for values in ys], [max(values) for values in ys]


def lines_figure(
    lines: Mapping[str, Points], title: str, x_label: str = "step", *, log_x: bool = False,
    log_y: bool = False, phases: Sequence[Mapping[str, Any]] = (), level: float | None = None,
) -> Any:  # fmt: skip
    """Plain lines by label over the phases of the run; *level*: a value to compare with."""
    figure, axes = _figure()
    for phase in phases:
        begin, end = phase["first_step"] - 0.5, phase["last_step"] + 0.5
        axes.axvspan(begin, end, color=PHASE_COLORS.get(phase["phase"], "white"), linewidth=0,
                     alpha=0.7)  # fmt: skip
    if level is not None:
        axes.axhline(level, color="#888888", linewidth=0.8)
    for place, (label, points) in enumerate(lines.items()):
        shown = [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not log_y)]
        if shown:
            marker = {"marker": "o", "markersize": 3} if len(shown) < 3 else {}
            axes.plot(
                *zip(*shown, strict=True), label=label, linewidth=1.4, **style(place), **marker
            )
    if log_x:
        axes.set_xscale("log")
    _dress(axes, title, x_label, log_y, False)
    return figure


def scatter_figure(
    groups: Mapping[str, Sequence[tuple[float, float, bool]]], title: str, x_label: str
) -> Any:
    """Points by label on a logarithmic x axis, joined; those that are chosen are filled."""
    figure, axes = _figure()
    for place, (label, points) in enumerate(groups.items()):
        ordered = sorted(point for point in points if math.isfinite(point[1]))
        if not ordered:
            continue
        look = style(place)
        xs, ys = [x for x, _, _ in ordered], [y for _, y, _ in ordered]
        axes.plot(xs, ys, label=label, linewidth=1.0, marker="o", markersize=4,
                  markerfacecolor="white", **look)  # fmt: skip
        best = [(x, y) for x, y, chosen in ordered if chosen]
        axes.plot(*zip(*best, strict=True), "o", color=look["color"]) if best else None
    axes.set_xscale("log")
    _dress(axes, title, x_label, True, False)
    return figure


def _dress(axes: Any, title: str, x_label: str, log_y: bool, percent: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, PercentFormatter

    axes.set_title(title, loc="left", fontsize=10.5)
    axes.set_xlabel(x_label)
    if log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=_digits(axes.get_ylim())))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.minorticks_off()
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    if axes.lines and any(not line.get_label().startswith("_") for line in axes.lines):
        axes.legend(frameon=False, fontsize=7.5, handlelength=2.6)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _digits(limits: tuple[float, float]) -> tuple[float, ...]:
    """Where a decade has its ticks: fewer, the more decades there are."""
    low, high = sorted(limits)
    decades = math.log10(high / low) if low > 0 else 0.0
    return (1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)
