"""The report of one run: its X-ray, phase by phase and layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from agnostic_dl.viz.report.lines import lines_figure
from agnostic_dl.viz.report.page import Page

WHOLE = "*"
_MOST_LINES = 8

#: Quantity → (title, caption, logarithmic, value to compare with).
MEASURES: dict[str, tuple[str, str, bool, float | None]] = {
    "gradient_norm": ("gradient norm", "Norm of the gradient of each layer's weights.", True, None),
    "update_norm": ("update norm", "Norm of the change that a step makes.", True, None),
    "update_to_weight": (
        "update / weights", "Norm of the update, as a share of the norm of the weights.", True, None
    ),
    "effective_step_p50": (
        "effective step", "Middle of |Δ| / |g|: the rate that SGD would need for the same step.",
        True, None,
    ),
    "step_over_rate_p50": (
        "step in learning rates", "Middle of |Δ| / α: in its first step Adam moves by exactly one.",
        True, 1.0,
    ),
    "sign_agreement": (
        "sign agreement", "Share of the gradients that keep their sign from step to step; one half "
        "by chance.", False, 0.5,
    ),
    "cosine_to_descent": (
        "cosine to steepest descent", "Between the update and the negative gradient.", False, 0.0
    ),
    "m_over_sqrt_v_p50": (
        "|m̂| / √v̂", "Middle of the ratio of Adam's moments: 1 where gradients agree, near 0 where "
        "they are noise.", False, 1.0,
    ),
    "denominator_p50": (
        "AdaGrad's denominator", "Middle of √Σg², which only grows.", True, None
    ),
    "velocity_over_gradient": (
        "velocity / gradient", "Length of the velocity in gradients; 1 / (1 - μ) where they agree.",
        True, None,
    ),
}  # fmt: skip


def run_report(
    plain: Mapping[str, Any], figures: Mapping[str, tuple[Any, str]] | None = None
) -> dict[str, bytes]:
    """The page report.html and its figures as PNG, by file name.

    *plain*: Diagnosis.as_plain(); *figures*: name → (figure, caption), to be
    shown first; they have files already.
    """
    about, info = plain["about"], plain["info"]
    optimizer = about.get("optimizer", {}).get("name", "an optimizer")
    settings = info.get("settings", {})
    where = f": {settings['model']} on {info.get('data', 'data')}" if "model" in settings else ""
    title = f"{optimizer} under the X-ray" if plain["tables"]["xray_steps"]["rows"] else optimizer
    page = Page(f"{title}{where}")
    for note in plain["notes"]:
        page.paragraph(note, faint=True)
    history = info.get("history") or []
    if figures or history:
        page.heading("The run")
        page.figures(figures or _history_figures(history), files=not figures)
    page.heading("The optimizer")
    xray_section(page, plain, plain["phases"], name="run")
    page.table("phases", plain["tables"]["phases"], folded="The phases' numbers")
    if plain["tables"]["layers"]["rows"]:
        page.heading("Layers at the last look")
        page.table("layers", plain["tables"]["layers"])
    page.table("xray_steps", plain["tables"]["xray_steps"], folded="The optimizer at every look")
    page.heading("Settings")
    page.facts({**settings, **{n: v for n, v in info.items() if n in ("data", "epochs", "seed")}})
    page.facts({n: v for n, v in about.items() if n != "shadows"})
    if about.get("shadows"):
        page.heading("Shadow optimizers", 3)
        page.facts({n: other["hyperparameters"] for n, other in about["shadows"].items()})
    if info.get("versions"):
        page.heading("Versions")
        page.facts(info["versions"])
    return page.files()


def _history_figures(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    figures = {}
    for name in ("loss", "accuracy"):
        lines = {
            label: [(row["epoch"], row[column]) for row in history if row.get(column) is not None]
            for column, label in ((name, "training"), (f"val_{name}", "held out"))
        }
        figures[f"run-{name}-by-epoch"] = (
            lines_figure(lines, name, "epoch"), f"{name.capitalize()} after each epoch.",
        )  # fmt: skip
    return figures


def xray_section(
    page: Page, record: Mapping[str, Any], phases: Sequence[Mapping[str, Any]], *, name: str
) -> None:
    """Phases in words and the figures of an X-ray."""
    if phases:
        page.heading("Phases", 3)
    for phase in phases:
        page.paragraph(f"{phase['phase'].capitalize()}. {phase['summary']}")
    rows, phases = record["rows"], list(phases)
    figures = {**_loss(record, phases), **_optimizer(record, phases)}
    layers = _layers(rows)
    for quantity, (title, caption, log_y, level) in MEASURES.items():
        lines = {layer: points(rows, layer, quantity) for layer in layers}
        lines = {layer: own for layer, own in lines.items() if len(own) > 1}
        if lines:
            figure = lines_figure(lines, title, log_y=log_y, phases=phases, level=level)
            figures[quantity] = (figure, caption)
    figures.update(_shadows(rows, phases))
    page.figures({f"{name}-{key}": made for key, made in figures.items()})


def _loss(record: Mapping[str, Any], phases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    losses = [(step, loss) for step, loss in record["losses"]]
    if not losses:
        return {}
    thinned = losses[:: max(len(losses) // 800, 1)]
    figure = lines_figure({"loss": thinned}, "loss and phases", log_y=True, phases=phases)
    caption = "Loss of every step" + (" (some left out)" if len(thinned) < len(losses) else "")
    return {"loss": (figure, f"{caption}; shaded: " + ", ".join(p["phase"] for p in phases) + ".")}


def _optimizer(record: Mapping[str, Any], phases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    steps = record["steps"]
    lines = {
        words: [(row["step"], row[name]) for row in steps if name in row]
        for name, words in (("bias_correction_1", "1 - β₁ᵗ (of m)"),
                            ("bias_correction_2", "1 - β₂ᵗ (of v)"))
    }  # fmt: skip
    lines = {words: own for words, own in lines.items() if len(own) > 1}
    if not lines:
        return {}
    figure = lines_figure(lines, "bias correction", log_x=True, log_y=True, level=1.0)
    return {"bias-correction": (figure, "What Adam divides m and v by; at 1 there is none left.")}


def _shadows(
    rows: Sequence[Mapping[str, Any]], phases: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    names = dict.fromkeys(n for row in rows for n in row if n.startswith("shadow_"))
    figures = {}
    for kind, title, caption, log_y, level in (
        ("cosine", "shadows: direction", "Cosine of what others would have done with the same "
         "gradients to what was done.", False, 1.0),
        ("size", "shadows: size", "Size of what others would have done, as a multiple of what was "
         "done.", True, 1.0),
    ):  # fmt: skip
        lines = {
            n.removeprefix("shadow_").removesuffix(f"_{kind}"): points(rows, WHOLE, n)
            for n in names
            if n.endswith(f"_{kind}")
        }
        if any(lines.values()):
            figure = lines_figure(lines, title, log_y=log_y, phases=phases, level=level)
            figures[f"shadow-{kind}"] = (figure, caption)
    return figures


def _layers(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The largest layers, weights before biases, in the model's order."""
    sizes = {row["parameter"]: row.get("size", 0) for row in rows if row["parameter"] != WHOLE}
    weights = [name for name in sizes if not name.endswith("bias")] or list(sizes)
    largest = sorted(weights, key=lambda name: -sizes[name])[:_MOST_LINES]
    return [name for name in sizes if name in largest]


def points(
    rows: Sequence[Mapping[str, Any]], parameter: str, quantity: str
) -> list[tuple[float, float]]:
    """(step, value) of a quantity of a parameter, where it is known."""
    return [
        (row["step"], row[quantity])
        for row in rows
        if row["parameter"] == parameter and math.isfinite(row.get(quantity, math.nan))
    ]
