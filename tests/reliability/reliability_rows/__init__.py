"""The rows of the reliability table; importing this package collects them all."""

from reliability_rows import damaged, determinism, disk, interrupted, isolation, numbers, resources
from reliability_rows.table import ROWS, Outcome, print_table

__all__ = [
    "ROWS", "Outcome", "print_table", "damaged", "determinism", "disk", "interrupted", "isolation",
    "numbers", "resources",
]  # fmt: skip
