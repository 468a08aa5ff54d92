"""What the numbers of a phase say, in a few sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from agnostic_dl.train.lab.phases import DESCENT, PLATEAU, RISE, WARM_UP, Phase

Row = Mapping[str, Any]

#: The quantities of a phase: medians over its looks at the whole model.
QUANTITIES = (
    "gradient_norm", "weight_norm", "update_norm", "update_to_weight", "cosine_to_descent",
    "effective_step_p50", "step_over_rate_p50", "sign_agreement", "m_over_sqrt_v_p50",
    "denominator_p50", "velocity_over_gradient",
)  # fmt: skip


def numbers(phase: Phase, rows: Sequence[Row], steps: Sequence[Row]) -> dict[str, Any]:
    """The numbers of a phase; *rows* of the whole model, *steps* of the optimizer."""
    own = [row for row in rows if phase.first <= row["step"] <= phase.last]
    found: dict[str, Any] = {
        "phase": phase.name, "first_step": phase.first, "last_step": phase.last,
        "loss_before": phase.loss_before, "loss_after": phase.loss_after, "looks": len(own),
    }  # fmt: skip
    shadows = sorted({n for row in own for n in row if n.startswith("shadow_")})
    for name in (*QUANTITIES, *shadows):
        values = [row[name] for row in own if math.isfinite(row.get(name, math.nan))]
        if values:
            found[name] = median(values)
    inside = [row for row in steps if phase.first <= row["step"] <= phase.last]
    for name in ("bias_correction_1", "bias_correction_2", "learning_rate"):
        if inside and name in inside[0]:
            found[f"{name}_first"], found[f"{name}_last"] = inside[0][name], inside[-1][name]
    return found


def sentences(found: Row) -> str:
    """The phase in words."""
    parts = [_course(found)]
    if found["looks"]:
        parts += [p for p in (_sizes(found), _direction(found), _adaptive(found)) if p]
        parts += _shadows(found)
    return " ".join(parts)


def _course(found: Row) -> str:
    verb = {
        WARM_UP: "the loss begins to fall",
        DESCENT: "most of the fall happens",
        PLATEAU: "the loss hardly falls any more",
        RISE: "the loss is above its beginning",
    }[found["phase"]]
    return (
        f"Steps {found['first_step']} to {found['last_step']}: {verb}, from "
        f"{found['loss_before']:.4g} to {found['loss_after']:.4g}."
    )


def _sizes(found: Row) -> str:
    text = f"The gradient's norm is {_number(found, 'gradient_norm')}"
    if "update_to_weight" in found:
        text += f"; an update changes the weights by {100 * found['update_to_weight']:.3g} %"
    if "effective_step_p50" in found:
        text += (
            f"; the middle parameter moves by {found['effective_step_p50']:.3g} times its gradient"
        )
    if "step_over_rate_p50" in found:
        text += f" and by {found['step_over_rate_p50']:.3g} learning rates"
    return text + "."


def _direction(found: Row) -> str:
    parts = []
    if "cosine_to_descent" in found:
        parts.append(f"the cosine to steepest descent is {found['cosine_to_descent']:.2f}")
    if "sign_agreement" in found:
        parts.append(f"{100 * found['sign_agreement']:.0f} % of the gradients keep their sign")
    return (" and ".join(parts)).capitalize() + "." if parts else ""


def _adaptive(found: Row) -> str:
    parts = []
    if "m_over_sqrt_v_p50" in found:
        ratio = found["m_over_sqrt_v_p50"]
        parts.append(f"|m̂|/√v̂ is {ratio:.2f} in the middle, {_agreement(ratio)}")
    if "bias_correction_2_first" in found:
        first, last = found["bias_correction_2_first"], found["bias_correction_2_last"]
        parts.append(f"v's bias correction goes from {first:.3g} to {last:.3g}")
    if "denominator_p50" in found:
        parts.append(f"AdaGrad's denominator is {found['denominator_p50']:.3g} in the middle")
    if "velocity_over_gradient" in found:
        parts.append(f"the velocity is {found['velocity_over_gradient']:.2f} gradients long")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""


def _agreement(ratio: float) -> str:
    if ratio > 0.7:
        return "gradients agree from step to step"
    return "gradients agree in part" if ratio > 0.25 else "gradients are mostly noise"


def _shadows(found: Row) -> list[str]:
    labels = [
        n.removeprefix("shadow_").removesuffix("_cosine")
        for n in found
        if n.startswith("shadow_") and n.endswith("_cosine")
    ]
    parts = [
        f"{label} (cosine {found[f'shadow_{label}_cosine']:.2f}, "
        f"{found[f'shadow_{label}_size']:.3g} times the size)"
        for label in labels
        if f"shadow_{label}_size" in found
    ]
    return (
        ["From the same gradients would have stepped: " + ", ".join(parts) + "."] if parts else []
    )


def _number(found: Row, name: str) -> str:
    return f"{found[name]:.3g}" if name in found else "unknown"
