"""History: what a training run measured, one row per epoch."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class History:
    """Rows of numbers by column name; ``history["loss"]`` is a column, ``history[-1]`` a row."""

    def __init__(self, rows: list[dict[str, float]] | None = None) -> None:
        self.rows = rows or []

    def append(self, row: dict[str, float]) -> None:
        """Add the row of an epoch."""
        self.rows.append(row)

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, int):
            return self.rows[key]
        if key not in self.columns:
            raise KeyError(f"no column {key!r}; there are: {', '.join(self.columns)}")
        return [row.get(key) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.rows)

    def to_csv(self, path: str | Path) -> None:
        """Write the rows as CSV with a header."""
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)

    def __repr__(self) -> str:
        last = ", ".join(f"{k}={v:.4g}" for k, v in self.rows[-1].items()) if self.rows else ""
        return f"<History of {len(self.rows)} epochs{': ' + last if last else ''}>"
