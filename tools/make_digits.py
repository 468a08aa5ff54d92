"""Make agnostic_dl/data/digits.npz from scikit-learn's copy of the numbers.

Needs scikit-learn, which the library itself does not. The result is the same to the byte each time.
Source and licence of the numbers: agnostic_dl/data/digits.txt.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parent.parent / "agnostic_dl" / "data" / "digits.npz"


def main() -> None:
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise SystemExit("scikit-learn is not installed: pip install scikit-learn")
    source = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(source, "rt") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.uint8)  # 64 pixels, then the digit
    np.savez_compressed(TARGET, images=table[:, :64].reshape(-1, 8, 8), labels=table[:, 64])
    print(f"{TARGET}: {len(table)} digits, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
