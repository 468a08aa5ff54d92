"""What many installed plugins cost: start-up, listing, look-up, with generated dist-info.

    python tools/measure_discovery.py [--plugins 200] [--rounds 15]

Prints medians in milliseconds of fresh processes, without and with the generated plugins, and with
nine broken ones; beside them, for scale, what pluggy's own eager loading takes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

MODULE = """
from dataclasses import dataclass
from agnostic_dl.extend import Optimizer, hookimpl

@dataclass(frozen=True)
class Rule(Optimizer):
    learning_rate: float = 0.1

    def update(self, xp, param, grad, state, *, learning_rate):
        return param - learning_rate * grad, state

@hookimpl
def agnostic_dl_optimizers():
    return {"NAME": Rule}
"""
BROKEN = {
    "imports": "from math import no_such_name", "depends": "import a_module_that_nobody_has",
    "syntax": "def f(:\n    pass", "signature": MODULE.replace("xp, param, grad, state, *", "p"),
    "raises": MODULE.replace("return {", "raise RuntimeError; {"), "collides": MODULE,
    "api": MODULE, "exits": "import sys\nsys.exit(3)", "endless": "while True: pass",
}  # fmt: skip
TASKS = {
    "start-up": "import agnostic_dl",
    "list_plugins": "import agnostic_dl as a; t(); a.list_plugins()",
    "list_optimizers": "import agnostic_dl as a; t(); a.list_optimizers()",
    "optimizer('adam')": "import agnostic_dl as a, agnostic_dl.extend; t(); a.optimizer('adam')",
}
PLUGGY = """
import pluggy, agnostic_dl.hookspecs as h
t()
m = pluggy.PluginManager(h.PROJECT)
m.add_hookspecs(h)
m.load_setuptools_entrypoints('agnostic_dl.optimizers')
"""
TIMER = "import time; z = [time.perf_counter()]\ndef t(): z[0] = time.perf_counter()\n{}\n"


def install(site: Path, distribution: str, name: str, source: str, api: str = "1") -> None:
    module = distribution.replace("-", "_")
    (site / f"{module}.py").write_text(source.replace("NAME", name))
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    header = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
    (info / "METADATA").write_text(header + "Requires-Dist: numpy\n\n" + "A description.\n" * 200)
    (info / "entry_points.txt").write_text(
        f"[agnostic_dl.optimizers]\n{name} = {module}\n[agnostic_dl.api]\n{api} = {module}\n"
    )


def measure(code: str, site: Path | None) -> float:
    """Seconds of the last statement, in a fresh process."""
    path = os.pathsep.join(map(str, filter(None, (site, os.environ.get("PYTHONPATH")))))
    done = subprocess.run(
        [sys.executable, "-c", TIMER.format(code) + "print(time.perf_counter() - z[0])"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plugins", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        many, broken = Path(folder, "many"), Path(folder, "broken")
        many.mkdir()
        broken.mkdir()
        for number in range(options.plugins):
            install(many, f"generated-{number}", f"rule-{number}", MODULE)
        for name, source in BROKEN.items():
            install(broken, f"broken-{name}", name, source, "99" if name == "api" else "1")
        install(broken, "broken-again", "collides", MODULE)
        sites = {"none": None, str(options.plugins): many, "9 broken": broken}
        print(f"{'ms':20}" + "".join(f"{title:>10}" for title in sites))
        for task, code in TASKS.items():
            print(f"{task:20}" + row(code, sites.values(), options.rounds))
        eager = {"none": None, str(options.plugins): many}
        print(f"{'pluggy, eager':20}" + row(PLUGGY, eager.values(), options.rounds))


def row(code: str, sites: object, rounds: int) -> str:
    """Medians; the sites take turns, so that a busy moment hits all of them."""
    sites = list(sites)  # type: ignore[call-overload]
    times = [[measure(code, site) for site in sites] for _ in range(rounds)]
    medians = (statistics.median(column) for column in zip(*times, strict=True))
    return "".join(f"{1000 * median:10.1f}" for median in medians)


if __name__ == "__main__":
    main()
