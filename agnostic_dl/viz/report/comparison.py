"""The report of a comparison of optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agnostic_dl.viz.report.lines import Points, lines_figure, scatter_figure, spread_figure
from agnostic_dl.viz.report.page import Page
from agnostic_dl.viz.report.run import MEASURES, WHOLE, points

_AXES = {"step": "step", "epoch": "epoch", "seconds": "seconds of training"}
_QUANTITIES = {
    "loss": ("training loss", True, False),
    "val_loss": ("validation loss", True, False),
    "val_accuracy": ("validation accuracy", False, True),
}
_RANKING = (
    "rank", "optimizer", "learning_rate", "test_accuracy", "test_accuracy_sd", "train_loss",
    "rank_by_train_loss", "validation_accuracy", "steps_to_target", "seconds_to_target",
    "runs_at_target", "runs", "seconds", "milliseconds_per_step",
)  # fmt: skip


def comparison_report(plain: Mapping[str, Any]) -> dict[str, bytes]:
    """The page report.html and its figures as PNG, by file name; *plain*: Comparison.as_plain()."""
    settings, tables = plain["settings"], plain["tables"]
    page = Page(f"Optimizers compared: {settings['model']} on {settings['data']}")
    page.paragraph(_verdict(plain))
    if settings.get("note"):
        page.paragraph(str(settings["note"]))
    page.heading("Ranking")
    page.paragraph(
        "By test accuracy, the mean over the seeds; sd is the standard deviation over the seeds. "
        f"Steps and seconds count to a validation accuracy of {100 * plain['target']:.4g} %, and "
        "are empty where a run did not reach it."
    )
    page.table("ranking", tables["ranking"], only=_RANKING)
    page.heading("Curves")
    page.paragraph(
        "Lines are means over the seeds, shaded from the least to the largest. Seconds are those "
        f"of training alone, without measuring, with {_sharing(settings)}.",
        faint=True,
    )
    page.figures(_curves(plain["curves"], settings["optimizers"]))
    page.heading("Search for the learning rates")
    page.paragraph(f"{_search(settings)}{_edges(plain['search'], settings['searched'])}")
    if settings["searched"]:
        figure = _search_figure(plain["search"], settings["optimizers"])
        caption = "Validation loss after each trial; the filled one was chosen."
        page.figures({"search": (figure, caption)})
    page.table("search", tables["search"])
    if plain["xrays"]:
        _xray_section(page, plain)
    page.table("phases", tables["phases"], folded="The phases' numbers")
    page.heading("Runs")
    page.table("runs", tables["runs"])
    page.table("curves", tables["curves"], folded="All measurements of all runs")
    page.heading("Settings")
    page.facts({n: v for n, v in settings.items() if n != "note"})
    page.heading("Versions")
    page.facts(plain["versions"])
    return page.files()


def _verdict(plain: Mapping[str, Any]) -> str:
    rows = plain["ranking"]
    first = rows[0]
    if first["test_accuracy"] is None:
        return "Every run diverged."
    seeds = len(plain["settings"]["seeds"])
    text = (
        f"After {plain['settings']['epochs']} epochs {first['optimizer']} has the highest test "
        f"accuracy, {100 * first['test_accuracy']:.2f} %"
    )
    if len(rows) > 1 and rows[1]["test_accuracy"] is not None:
        second = rows[1]
        gap = first["test_accuracy"] - second["test_accuracy"]
        text += f", {100 * gap:.2f} points before {second['optimizer']}"
        spread = max(first["test_accuracy_sd"] or 0.0, second["test_accuracy_sd"] or 0.0)
        if seeds == 1:
            text += "; a single seed says nothing about chance"
        elif gap < spread:
            text += f", which is less than the spread over {seeds} seeds: the two are level"
    least = min(rows, key=lambda r: r["rank_by_train_loss"])
    return f"{text}. {least['optimizer']} has the least training loss in the last epoch."


def _sharing(settings: Mapping[str, Any]) -> str:
    count = settings["workers"]
    if count == 1:
        return "one run at a time"
    return f"{count} runs at a time, each on its share of the cores"


def _search(settings: Mapping[str, Any]) -> str:
    searched = settings["searched"]
    if not searched:
        return "There was none: the learning rates were given."
    given = [name for name in settings["optimizers"] if name not in searched]
    text = (
        f"The same budget for each of {', '.join(searched)}: {settings['search_trials']} trials of "
        f"{settings['search_steps']} steps with seed {settings['seeds'][0]}, judged by the loss on "
        f"{settings['validation']:,} validation images, which no run trains on."
    )
    return text + (f" Given were the rates of {', '.join(given)}." if given else "")


def _edges(search: Sequence[Mapping[str, Any]], searched: Sequence[str]) -> str:
    """Whose best rate was the outermost that was tried: a larger budget might find a better one."""
    at_edge = []
    for label in searched:
        own = [row for row in search if row["optimizer"] == label]
        rates = [row["learning_rate"] for row in own if not row["diverged"]]
        chosen = next(row["learning_rate"] for row in own if row["chosen"])
        if len(rates) > 1 and chosen in (min(rates), max(rates)):
            at_edge.append(label)
    if not at_edge:
        return ""
    return (
        f" For {', '.join(at_edge)} the best rate is the outermost that was tried and did not "
        "diverge: more trials might find a better one."
    )


def _curves(curves: Sequence[Mapping[str, Any]], order: Sequence[str]) -> dict[str, Any]:
    figures = {}
    for quantity, (name, log_y, percent) in _QUANTITIES.items():
        for axis, words in _AXES.items():
            groups = {label: _series(curves, label, axis, quantity) for label in order}
            figure = spread_figure(groups, name, words, log_y=log_y, percent=percent)
            figures[f"{quantity}-by-{axis}"] = (figure, f"{name.capitalize()} over {words}s"
                                                if axis != "seconds" else
                                                f"{name.capitalize()} over {words}")  # fmt: skip
    return figures


def _series(
    curves: Sequence[Mapping[str, Any]], label: str, axis: str, quantity: str
) -> list[Points]:
    own = [row for row in curves if row["optimizer"] == label]
    return [
        [
            (row[axis], row[quantity])
            for row in own
            if row["seed"] == seed and row.get(quantity) is not None
        ]
        for seed in dict.fromkeys(row["seed"] for row in own)
    ]


def _search_figure(search: Sequence[Mapping[str, Any]], order: Sequence[str]) -> Any:
    groups = {
        label: [
            (row["learning_rate"], row["validation_loss"], row["chosen"])
            for row in search
            if row["optimizer"] == label and row["validation_loss"] is not None
        ]
        for label in order
    }
    return scatter_figure(groups, "validation loss after a trial", "learning rate")


def _xray_section(page: Page, plain: Mapping[str, Any]) -> None:
    """What each optimizer did to the whole model, one beside the other, and its phases in words."""
    page.heading(f"X-ray, seed {plain['settings']['seeds'][0]}")
    order = [label for label in plain["settings"]["optimizers"] if label in plain["xrays"]]
    figures = {}
    for quantity, (title, caption, log_y, level) in MEASURES.items():
        lines = {o: points(plain["xrays"][o]["rows"], WHOLE, quantity) for o in order}
        if any(len(own) > 1 for own in lines.values()):  # the others keep their colours free
            figure = lines_figure(lines, title, log_y=log_y, level=level)
            figures[f"xray-{quantity}"] = (figure, f"{caption} Means over all layers.")
    page.figures(figures)
    for label in order:
        page.heading(label, 3)
        for phase in plain["phases"]:
            if phase["optimizer"] == label:
                page.paragraph(f"{phase['phase'].capitalize()}. {phase['summary']}")
