"""Rows as CSV, and reports as files: each is written beside its place and moved there."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def columns(rows: Sequence[Row]) -> list[str]:
    """The names of the columns, in order of appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def text(value: Any) -> str:
    """A cell as pages and CSV files show it, both alike: six significant digits."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def as_text(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """{"columns": [name, ...], "rows": [[cell, ...], ...]} with all cells as text."""
    names = columns(rows)
    return {"columns": names, "rows": [[text(row.get(n)) for n in names] for row in rows]}


def as_csv(rows: Sequence[Row]) -> bytes:
    """The rows as the content of a CSV file with a header."""
    table = as_text(rows)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table["columns"])
    writer.writerows(table["rows"])
    return stream.getvalue().encode()


def write(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".partial")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_report(
    folder: Path, contents: Mapping[str, bytes], rows: Mapping[str, Sequence[Row]], name: str
) -> Path:
    """Write the files of a report: *contents* by file name, a CSV for each table with rows."""
    for file, content in contents.items():
        write(folder / file, content)
    for table, own in rows.items():
        if own:
            write(folder / f"{table}.csv", as_csv(own))
    return folder / f"{name}.html"
