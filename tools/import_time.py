"""How long ``import agnostic_dl`` takes over a bare interpreter: medians of fresh processes.

``python tools/import_time.py [REPEATS]``. The two are run in turn, so that a machine that becomes
busy slows down both.
"""

import statistics
import subprocess
import sys
import time


def seconds(code: str) -> float:
    """Wall time of one fresh interpreter that runs *code*."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def measured(repeats: int) -> tuple[float, float, float]:
    """Medians in milliseconds: a bare interpreter, one that imports, and the difference."""
    seconds("import agnostic_dl")  # compiles what is not compiled yet
    pairs = [(seconds("pass"), seconds("import agnostic_dl")) for _ in range(repeats)]
    bare, loaded = (1e3 * statistics.median(times) for times in zip(*pairs, strict=True))
    return bare, loaded, 1e3 * statistics.median(b - a for a, b in pairs)


def main(repeats: int = 30) -> None:
    """Print both medians and the difference."""
    bare, loaded, extra = measured(repeats)
    print(f"bare interpreter {bare:.1f} ms, import agnostic_dl {loaded:.1f} ms: +{extra:.1f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
