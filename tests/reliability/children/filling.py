"""A run whose disk fails: saves once in FOLDER, then again after FAULT; ends as a command would.

FAULT: "free=BYTES" fills the disk until that much is left, "limit=BYTES" forbids larger files,
"read-only" mounts it anew, "eio" lets the device fail, "none".
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

from reliability_rows import common

from agnostic_dl.errors import AgnosticDLError


def leave_free(folder: Path, wanted: int) -> None:
    space = os.statvfs(folder)
    with open(folder / "filler", "wb") as file:
        file.write(bytes(max(space.f_bavail * space.f_frsize - wanted, 0)))


def fail(*arguments: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def inflict(fault: str, folder: Path) -> None:
    kind, _, value = fault.partition("=")
    if kind == "free":
        leave_free(folder, int(value))
    elif kind == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(value), int(value)))
    elif kind == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    elif kind == "eio":
        os.fsync = fail


def main(folder: Path, fault: str) -> int:
    trainer = common.trainer()
    trainer.fit(common.data(), epochs=1, batch_size=16)
    trainer.save(folder / "run")
    print(common.fingerprint(trainer), (folder / "run" / "model.safetensors").stat().st_size)
    trainer.fit(common.data(), epochs=1, batch_size=16)
    inflict(fault, folder)
    try:
        trainer.save(folder / "run")
    except AgnosticDLError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
