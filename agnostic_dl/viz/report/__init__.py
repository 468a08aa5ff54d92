"""Reports: one self-contained HTML page, its figures as PNG files beside it.

They are made of plain data (dicts, lists, numbers), and return file name → content.
"""

from agnostic_dl.viz.report.comparison import comparison_report
from agnostic_dl.viz.report.run import run_report

__all__ = ["comparison_report", "run_report"]
