"""The figures as JSON; as Markdown: what was promised, every candidate's time, the extras."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any


def as_json(figures: dict[str, Any]) -> str:
    """The figures with every raw time, to five digits, and each list of numbers on a line."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: short(item) for key, item in value.items()}
        if isinstance(value, list):
            return [short(item) for item in value]
        return float(f"{value:.5g}") if isinstance(value, float) else value

    text = json.dumps(short(figures), indent=1)
    return re.sub(r"\[[-+\d.eE,\s]+\]", lambda found: " ".join(found[0].split()), text) + "\n"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def number(value: Any) -> str:
    """Three digits; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def promises(rows: Sequence[dict[str, Any]]) -> str:
    """Each target with what was reached."""
    head = ["row", "ours", "ms", "against", "ms", "ratio", "ratio of least", "target", "floor",
            "verdict"]  # fmt: skip
    lines = [
        [title(row), found["ours"], number(row["median_ms"][found["ours"]]),
         found["peer"] + (" (fastest peer)" if found["fastest"] else ""),
         number(row["median_ms"][found["peer"]]), f"{found['ratio']:.2f}",
         f"{found['least_ratio']:.2f}", f"{found['target']:.2f}", f"{found['floor']:.2f}",
         found["verdict"]]
        for row in rows for found in row["verdicts"]
    ]  # fmt: skip
    return table(head, lines) if lines else "No peer took part: there are no ratios."


def title(row: dict[str, Any]) -> str:
    """A row's name and what it does."""
    return f"{row['row']} {row['model']}"


def milliseconds(rows: Sequence[dict[str, Any]]) -> str:
    """The median step of every candidate, a column for each row."""
    names = dict.fromkeys(name for row in rows for name in row["median_ms"])
    lines = [[name, *(number(row["median_ms"].get(name)) for row in rows)] for name in names]
    return table(["ms", *map(title, rows)], lines)


def compiling(rows: Sequence[dict[str, Any]]) -> str:
    """Seconds of the first step of who compiles, or records."""
    names = dict.fromkeys(name for row in rows for name in row["about"])
    lines = [
        [name, *(number(row["about"].get(name, {}).get("first_step_seconds")) for row in rows)]
        for name in names
    ]  # fmt: skip
    return table(["s", *map(title, rows)], lines)


def left_out(rows: Sequence[dict[str, Any]], everywhere: dict[str, str]) -> str:
    """Who did not take part, and why."""
    lines = [f"- {name}: {why}" for name, why in everywhere.items()]
    lines += [
        f"- {name} in {row['row']}: it {why}"
        for row in rows
        for name, why in row["left_out"].items()
    ]
    return "\n".join(lines)


def report(figures: dict[str, Any]) -> str:
    """Everything."""
    rows, machine = figures["rows"], figures["machine"]
    parts = [
        f"{machine['cpu']}, {figures['threads']} threads, {figures['date']}; load average "
        f"{figures['load_at_start']} at the start, {figures['load_at_end']} at the end."
    ]
    if rows:
        parts += [promises(rows), "Median milliseconds of a step:", milliseconds(rows),
                  "Seconds of the first step, what is compiled or recorded included:",
                  compiling(rows)]  # fmt: skip
    absent = left_out(rows, figures["left_out"])
    parts += ["Left out:\n\n" + absent] if absent else []
    parts += [f"**{key}: {why}**" for key, why in figures["failed"].items()]
    parts += extras(figures["extras"]) if "extras" in figures else []
    return "\n\n".join(parts)


def extras(found: dict[str, Any]) -> list[str]:
    """The tables of the extras."""
    peaks = found["peaks"]
    return [
        "Microseconds for an image, by size of the batch:",
        table(
            ["row", "candidate", *found["per_image_us"]["batches"]],
            [[e["row"], e["candidate"], *map(number, e["us"])]
             for e in found["per_image_us"]["entries"]],
        ),
        f"Peak memory of {found['memory']['row']} above the imported libraries, MB:",
        table(["candidate", "first three steps", "later ones"],
              [[name, number(mb and mb["first"]), number(mb and mb["later"])]
               for name, mb in found["memory"]["mb"].items()]),
        f"Import of the core: {number(found['import_ms'])} ms. Cold start to the first step of W2: "
        + ", ".join(f"{number(s)} s ({n})" for n, s in found["cold_start_seconds"].items()) + ".",
        f"Roofline of this machine: {number(peaks['gflops'])} GFLOP/s ({peaks['gflops_by']}), "
        f"{number(peaks['gbytes'])} GB/s.",
        table(["row", "bound, ms", "candidate", "ms", "share of the bound"],
              [[e["row"], number(e["bound_ms"]), e["candidate"], number(e["ms"]),
                f"{e['share']:.0%}"] for e in found["roofline"]]),
    ]  # fmt: skip
