"""Run the data-apis/array-api-tests suite on a namespace of Tensors.

    python tools/array_api_tests.py SUITE [--backend numpy] [--requires-grad] [-- pytest options]

SUITE (or $ARRAY_API_TESTS) is a checkout of https://github.com/data-apis/array-api-tests with its
submodule, and with what its requirements.txt names installed. `--raw` tests the library itself, for
comparison. Failures that the library has by itself stand in tests/conformance/BACKEND.txt, one
test id a line; the exit status is 1 if any other test fails, whatever the number of failures.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

KNOWN = Path(__file__).parents[1] / "tests" / "conformance"
MODULE = "exec('import agnostic_dl; xp = agnostic_dl.{}')"


def command_and_environment(options: argparse.Namespace) -> tuple[list[str], dict[str, str]]:
    """The suite's pytest call, and the variable that tells it which namespace to import."""
    call = f'namespace("{options.backend}", requires_grad={options.requires_grad})'
    if options.raw:
        call = f'get_backend("{options.backend}").xp'
    command = [
        sys.executable, "-m", "pytest", "array_api_tests", "-q", "-rf", "-p", "no:cacheprovider",
        "--max-examples", "20", "--derandomize", "--disable-deadline", *options.pytest,
    ]  # fmt: skip
    return command, {**os.environ, "ARRAY_API_TESTS_MODULE": MODULE.format(call)}


def failures(output: str) -> set[str]:
    """The ids of the failed tests; those of special cases have spaces and brackets in them."""
    lines = re.findall(r"^(?:FAILED|ERROR) (.*)$", output, flags=re.MULTILINE)
    return {re.sub(r"(?<=[\]\w]) - .*$", "", line) for line in lines}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suite", nargs="?", default=os.environ.get("ARRAY_API_TESTS"))
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--requires-grad", action="store_true")
    parser.add_argument("--raw", action="store_true", help="test the library itself")
    parser.add_argument("pytest", nargs="*", help="further options for pytest, after --")
    options = parser.parse_args()
    if options.suite is None:
        parser.error("give the folder of the suite, or set ARRAY_API_TESTS")
    command, environment = command_and_environment(options)
    environment["COLUMNS"] = "1000"  # pytest cuts ids at the width of the terminal
    run = subprocess.run(
        command, cwd=options.suite, env=environment, capture_output=True, text=True, check=False
    )
    print((run.stdout.strip().splitlines() or [run.stderr])[-1])
    failed = failures(run.stdout)
    if run.returncode not in (0, 1):
        print(run.stdout[-2000:], run.stderr[-2000:])
        return 2
    known = set((KNOWN / f"{options.backend}.txt").read_text().splitlines())
    for name in sorted(failed - known):
        print(f"new failure: {name}")
    print(f"{len(failed & known)} failures are the library's own, {len(failed - known)} are not")
    return 1 if failed - known else 0


if __name__ == "__main__":
    sys.exit(main())
