"""Rows 1 and 4: runs that are killed or asked to stop, and what they are when they go on."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path
from subprocess import Popen

from reliability_rows.common import finish, start
from reliability_rows.table import Outcome, row

_EPOCHS, _EVERY = 4, 2
_FILES = {"model.safetensors", "model.previous.safetensors"}


def _begin(folder: Path, step: float = 0.0, save: float = 0.0) -> Popen[str]:
    return start("training.py", folder, _EPOCHS, _EVERY, step, save)


def _uninterrupted(root: Path) -> str:
    code, out, err = finish(_begin(root / "whole"))
    assert code == 0, err
    return out.split()[-1]


def _wait_for_training(process: Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "training", finish(process)


def _strays(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - _FILES if folder.exists() else set()


@row(1, "kill -9, then resume", "50/50 to the same SHA-256, ≥ 20 inside a save, 0 stray files")
def killed(full: bool) -> Outcome:
    """Half of the kills wait for a save to begin."""
    outcome, dice, inside = Outcome(), random.Random(1), 0
    trials, wanted = (50, 20) if full else (2, 0)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        expected = _uninterrupted(root)
        for trial in range(trials):
            folder, in_save = root / str(trial), trial % 2 == 0
            process = _begin(folder, 0.004, 0.01)
            _wait_for_training(process)
            if in_save:
                _wait_for_save(process, folder, dice.random())
            else:
                time.sleep(dice.uniform(0.0, 0.6))
            os.kill(process.pid, signal.SIGKILL)
            finish(process)
            inside += bool(_strays(folder))
            code, out, err = finish(_begin(folder))
            same = code == 0 and out.split()[-1] == expected
            outcome.check(same, f"trial {trial}: rc {code}, {out.split()[-1:]}, {err[-300:]}")
            if same and _strays(folder):
                outcome.failures.append(f"trial {trial}: stray files {_strays(folder)}")
    outcome.note(f"{inside} inside a save")
    if inside < wanted:
        outcome.failures.append(f"only {inside} kills hit a save, wanted {wanted}")
    return outcome


def _wait_for_save(process: Popen[str], folder: Path, share: float) -> None:
    """Until a file of a save under way is there, and then for a random share of the save."""
    partial = folder / "model.safetensors.partial"
    deadline = time.monotonic() + 20
    while not partial.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)
    time.sleep(share * 0.02)


@row(4, "SIGINT and SIGTERM", "40/40: saved within 5 s, exit 130/143, resumed to the same SHA-256")
def signalled(full: bool) -> Outcome:
    """At random times, during saves and at the ends of epochs; every other one twice."""
    outcome, dice, slowest = Outcome(), random.Random(4), 0.0
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        expected = _uninterrupted(root)
        for trial in range(40 if full else 2):
            number = (signal.SIGINT, signal.SIGTERM)[trial % 2]
            folder = root / str(trial)
            process = _begin(folder, 0.01, 0.002)
            _wait_for_training(process)
            if trial % 4 < 2:
                time.sleep(dice.uniform(0.0, 0.5))
            else:
                _wait_for_save(process, folder, dice.random())
            started = time.monotonic()
            process.send_signal(number)
            if trial % 3 == 0:
                time.sleep(dice.uniform(0.0, 0.03))
                process.send_signal(number)
            code, _, err = finish(process)
            slowest = max(slowest, time.monotonic() - started)
            again, out, more = finish(_begin(folder))
            good = code == 128 + number and again == 0 and out.split()[-1] == expected
            outcome.check(
                good, f"trial {trial}: rc {code}, {again}: {out[-70:]}{err[-200:]}{more[-200:]}"
            )
    outcome.note(f"slowest end {slowest:.2f} s")
    if slowest > 5:
        outcome.failures.append(f"an end took {slowest:.1f} s")
    return outcome
