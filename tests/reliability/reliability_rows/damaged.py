"""Row 2: checkpoints whose bytes have changed."""

from __future__ import annotations

import random
import tempfile
import warnings
from pathlib import Path

import agnostic_dl as adl
from agnostic_dl.errors import CheckpointError, CheckpointWarning
from agnostic_dl.train import storage
from reliability_rows.common import data, fingerprint, trainer
from reliability_rows.table import Outcome, row


def generations(path: Path) -> tuple[bytes, bytes, str]:
    """Save twice at *path*: the two contents, and the fingerprint of the first."""
    run = trainer()
    run.fit(data(), epochs=1, batch_size=16)
    run.save(path)
    first = fingerprint(run)
    run.fit(data(), epochs=1, batch_size=16)
    run.save(path)
    return storage.previous(path).read_bytes(), path.read_bytes(), first


@row(2, "damaged checkpoints", "2,000 flips, 500 cuts, 50 mixed generations: 0 wrong loads")
def damaged(full: bool) -> Outcome:
    """Every other case has the older generation beside it, to fall back to; one has none."""
    outcome, dice = Outcome(), random.Random(2)
    flips, cuts, mixes = (2000, 500, 50) if full else (150, 50, 20)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "run.safetensors")
        older, newer, first = generations(path)
        cases = [(f"flip {n}", _flipped(newer, dice)) for n in range(flips)]
        cases += [(f"cut {n}", newer[: dice.randrange(len(newer))]) for n in range(cuts)]
        cases += [(f"mix {n}", _mixed(older, newer, dice)) for n in range(mixes)]
        for number, (name, content) in enumerate(cases):
            path.write_bytes(content)
            if number % 2:
                storage.previous(path).write_bytes(older)
                problem = _fallback_problem(path, first)
            else:
                storage.previous(path).unlink(missing_ok=True)
                problem = _refusal_problem(path)
            outcome.check(problem is None, f"{name}: {problem}")
    outcome.note(f"{len(outcome.failures)} wrong loads")
    return outcome


def _flipped(content: bytes, dice: random.Random) -> bytes:
    bit = dice.randrange(8 * len(content))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _mixed(older: bytes, newer: bytes, dice: random.Random) -> bytes:
    """The beginning of one generation and the rest of the other, as a torn write leaves them."""
    pair = [older, newer]
    dice.shuffle(pair)
    same = next(i for i, (a, b) in enumerate(zip(older, newer, strict=False)) if a != b)
    place = dice.randrange(same + 1, min(len(older), len(newer)) - 64)
    return pair[0][:place] + pair[1][place:]


def _fallback_problem(path: Path, first: str) -> str | None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = fingerprint(adl.Trainer.load(path))
        except Exception as error:
            return f"did not fall back: {type(error).__name__}: {error}"
    if found != first:
        return "loaded something else than the older generation"
    return None if any(w.category is CheckpointWarning for w in caught) else "fell back in silence"


def _refusal_problem(path: Path) -> str | None:
    try:
        adl.Trainer.load(path)
    except CheckpointError as error:
        text = str(error)
        return None if str(path) in text and "\n" not in text else f"message: {text!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "loaded"
