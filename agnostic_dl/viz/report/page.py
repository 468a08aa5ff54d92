"""One HTML page that needs nothing else: style, figures and tables are inside it; no script."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO
from typing import Any

from agnostic_dl.viz.figures import png

_STYLE = """
:root { color-scheme: light; --line: #d9dde3; --soft: #f5f7f9; --ink: #1d2530; --faint: #5d6875; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p, dl { max-width: 62rem; margin: .4rem 0; }
.faint, figcaption { color: var(--faint); font-size: .875rem; }
.figures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
figure { margin: 0; min-width: 0; max-width: 36rem; }
figure svg { width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; margin: .5rem 0; border: 1px solid var(--line); border-radius: 4px; }
.tall { max-height: 28rem; overflow-y: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top; white-space: nowrap; }
td.number, th.number { text-align: right; }
td.long { white-space: normal; min-width: 16rem; }
thead th { position: sticky; top: 0; background: var(--soft); }
tbody tr:nth-child(even) { background: var(--soft); }
summary { cursor: pointer; padding: .3rem 0; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem 1rem; font-size: .875rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
"""


class Page:
    """A page under construction; `html()` gives it, `pictures` its figures by file name."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.parts: list[str] = [f"<h1>{escape(title)}</h1>"]
        self.pictures: dict[str, bytes] = {}

    def heading(self, text: str, level: int = 2) -> None:
        """A heading."""
        self.parts.append(f"<h{level}>{escape(text)}</h{level}>")

    def paragraph(self, text: str, *, faint: bool = False) -> None:
        """A paragraph of plain text."""
        kind = ' class="faint"' if faint else ""
        self.parts.append(f"<p{kind}>{escape(text)}</p>")

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Names and values, one below the other."""
        rows = (
            f"<dt>{escape(words(n))}</dt><dd>{escape(_value(v))}</dd>" for n, v in facts.items()
        )
        self.parts.append(f"<dl>{''.join(rows)}</dl>")

    def table(
        self, name: str, table: Mapping[str, Any], *, only: Sequence[str] | None = None,
        folded: str | None = None,
    ) -> None:  # fmt: skip
        """A table of texts, {"columns": [...], "rows": [[...], ...]}; also in *name*.csv.

        *only*: of these columns, those that are there; *folded*: hide it behind these words.
        """
        if not table["rows"]:
            return
        columns = [c for c in (only or table["columns"]) if c in table["columns"]]
        places = [table["columns"].index(c) for c in columns]
        numeric = [all(_is_number(row[p]) for row in table["rows"]) for p in places]
        head = "".join(
            f'<th scope="col"{_kind(n, c)}>{escape(words(c))}</th>'
            for c, n in zip(columns, numeric, strict=True)
        )
        body = "".join(
            "<tr>"
            + "".join(
                f"<td{_kind(n, row[p])}>{escape(row[p])}</td>"
                for p, n in zip(places, numeric, strict=True)
            )
            + "</tr>"
            for row in table["rows"]
        )
        tall = " tall" if len(table["rows"]) > 14 else ""
        made = (
            f'<div class="scroll{tall}"><table id="{escape(name)}" '
            f'data-columns="{escape(" ".join(columns))}">'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
            f'<p class="faint">As a file: {escape(name)}.csv</p>'
        )
        if folded is not None:
            made = f"<details><summary>{escape(folded)}</summary>{made}</details>"
        self.parts.append(made)

    def figures(self, figures: Mapping[str, tuple[Any, str]], *, files: bool = True) -> None:
        """Figures side by side where there is room: name → (matplotlib figure, caption).

        *files*: have them as PNG files as well.
        """
        cells = []
        for name, (figure, caption) in figures.items():
            if files:
                self.pictures[f"{name}.png"] = png(figure)
            cells.append(
                f"<figure>{svg(figure, name, caption)}"
                f"<figcaption>{escape(caption)}</figcaption></figure>"
            )
        self.parts.append(f'<div class="figures">{"".join(cells)}</div>')

    def html(self) -> bytes:
        """The page as the content of a file."""
        body = "\n".join(self.parts)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head>"
            f"<body><main>\n{body}\n</main></body></html>\n"
        ).encode()

    def files(self, name: str = "report.html") -> dict[str, bytes]:
        """The page and its pictures, by file name."""
        return {name: self.html(), **{f"figures/{n}": c for n, c in self.pictures.items()}}


def svg(figure: Any, name: str, caption: str) -> str:
    """A matplotlib figure as an inline SVG element with a name for those who cannot see it."""
    from matplotlib import rc_context

    stream = StringIO()
    with warnings.catch_warnings(), rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        warnings.simplefilter("ignore")
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    # Ids of axes and lines are the same in every figure: only those that are referred to stay.
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", text)
    label = escape(caption, quote=True)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def words(name: str) -> str:
    """A column's or setting's name as people read it."""
    return name.replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "default" if value is None else str(value)


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True


def _kind(numeric: bool, text: str) -> str:
    if numeric:
        return ' class="number"'
    return ' class="long"' if len(text) > 60 else ""
