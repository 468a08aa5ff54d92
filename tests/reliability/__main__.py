"""Print the reliability table: ``python tests/reliability [--short] [ROW...]``.

The full form takes some minutes a row; exit code 1 if a target was missed.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from reliability_rows import ROWS, print_table

if __name__ == "__main__":
    full = "--short" not in sys.argv
    chosen = [int(word) for word in sys.argv[1:] if word.isdigit()] or sorted(ROWS)
    sys.exit(0 if print_table(chosen, full) else 1)
