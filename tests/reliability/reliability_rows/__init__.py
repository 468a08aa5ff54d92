"""The rows of the reliability table; importing this package collects them all."""

from reliability_rows import (
    broken_plugins,
    damaged,
    determinism,
    differential,
    disk,
    hostile,
    interrupted,
    isolation,
    numbers,
    parity,
    resources,
)  # fmt: skip
from reliability_rows.table import ROWS, Outcome, print_table

__all__ = [
    "ROWS", "Outcome", "print_table", "broken_plugins", "damaged", "determinism", "differential",
    "disk", "hostile", "interrupted", "isolation", "numbers", "parity", "resources",
]  # fmt: skip
