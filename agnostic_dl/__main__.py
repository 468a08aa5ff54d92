"""``python -m agnostic_dl``: the command line."""

import sys

from agnostic_dl.cli import main

if __name__ == "__main__":
    sys.exit(main())
