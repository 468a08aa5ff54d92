"""The rows of the reliability table; importing this package collects them all."""

from reliability_rows import damaged, disk, interrupted, numbers
from reliability_rows.table import ROWS, Outcome, print_table

__all__ = ["ROWS", "Outcome", "print_table", "damaged", "disk", "interrupted", "numbers"]
