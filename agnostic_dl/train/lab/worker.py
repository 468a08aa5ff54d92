"""A process that runs jobs: ``python -m agnostic_dl.train.lab.worker BUNDLE FOLDER BACKEND``.

Reads a job as one line of JSON from stdin, answers with lines of JSON, ends with its stdin.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from agnostic_dl.errors import AgnosticDLError


def main(bundle: str, folder: str, backend: str) -> None:
    """Serve until stdin ends."""
    from agnostic_dl.data.bundle import read_bundle
    from agnostic_dl.train.lab.job import Job, run_job

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends this one
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a plugin prints is no answer

    def answer(news: dict[str, Any]) -> None:
        answers.write(json.dumps(news) + "\n")
        answers.flush()

    parts = read_bundle(Path(bundle))
    for line in sys.stdin:
        try:
            job = Job(**json.loads(line))
            answer({"result": run_job(job, parts, Path(folder), backend=backend, tell=answer)})
        except AgnosticDLError as error:
            answer({"error": type(error).__name__, "message": str(error)})
        except Exception as error:  # the parent says it, and ends
            answer({"error": "AgnosticDLError", "message": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main(*sys.argv[1:])
