"""Row 3: saves for which the disk has no room or that it refuses."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from reliability_rows.common import HERE, environment
from reliability_rows.table import Outcome, row

# The disk exists only for the shell and its children, and goes with them.
_ON_A_SMALL_DISK = """
mount -t tmpfs -o size=2m tmpfs "$1" || exit 77
"$2" "$3/filling.py" "$1" "$4"
code=$?
"$2" -W error "$3/loading.py" "$1/run" || exit 78
ls "$1/run" | tr '\\n' ' '
exit $code
"""
_WITH_A_LIMIT = _ON_A_SMALL_DISK.replace("mount -t tmpfs -o size=2m tmpfs", ": ")


def _run(fault: str, mounted: bool) -> tuple[int, list[str], str]:
    """Exit code of the run, the words that it printed, and its errors."""
    with tempfile.TemporaryDirectory() as place:
        script = _ON_A_SMALL_DISK if mounted else _WITH_A_LIMIT
        shell = ["bash", "-c", script, "-", place, sys.executable, str(HERE / "children"), fault]
        done = subprocess.run(
            ["unshare", "-m", *shell] if mounted else shell,
            capture_output=True, text=True, env=environment(), timeout=60,
        )  # fmt: skip
    return done.returncode, done.stdout.split(), done.stderr


def can_mount() -> bool:
    """Whether this process may make a small disk of its own."""
    try:
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True
        )
    except OSError:
        return False
    return done.returncode == 0


@row(
    3, "disk full, read-only, I/O error", "22/22 keep the last good; exit ≠ 0; path and bytes named"
)
def full_disk(full: bool) -> Outcome:
    """Twenty amounts of free space, none of them enough, and two disks that refuse."""
    outcome, mounted = Outcome(), can_mount()
    _, words, errors = _run("none", mounted)
    if len(words) < 3:
        outcome.failures.append(errors)
        return outcome
    size = int(words[1])
    kind = "free" if mounted else "limit"
    count = 20 if full else 1
    faults = [f"{kind}={(size - 4096) * n // count}" for n in range(count)]
    faults += ["eio", *(["read-only"] if mounted else [])]
    for fault in faults:
        code, words, errors = _run(fault, mounted)
        good = code == 1 and len(words) == 4 and words[0] == words[2]
        named = "model.safetensors" in errors and "bytes" in errors and errors.count("\n") == 1
        outcome.check(
            good and named and words[3] == "model.safetensors", f"{fault}: {code} {words} {errors}"
        )
    if not mounted:
        outcome.note("by RLIMIT_FSIZE: this process may not mount a disk")
    return outcome
