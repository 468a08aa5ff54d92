"""The rows of the reliability table; importing this package collects them all."""

from reliability_rows import (
    damaged,
    determinism,
    disk,
    hostile,
    interrupted,
    isolation,
    numbers,
    resources,
)  # fmt: skip
from reliability_rows.table import ROWS, Outcome, print_table

__all__ = [
    "ROWS", "Outcome", "print_table", "damaged", "determinism", "disk", "hostile", "interrupted",
    "isolation", "numbers", "resources",
]  # fmt: skip
