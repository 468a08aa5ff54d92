"""The tests' own helpers lie beside them; runs that were saved once, twice, and forged."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import agnostic_dl as adl
from agnostic_dl.train import archive, checkpoint

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def run(problem, small, tmp_path) -> Path:
    from saved_runs import trained

    trained(small, adl.optimizer("adam"), problem, epochs=1).save(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def two(problem, run) -> tuple[Path, Any]:
    """A run saved twice: its folder, and what the older save held."""
    from saved_runs import contents

    trainer = adl.Trainer.load(run)
    before = contents(trainer)
    trainer.fit(problem, validation=problem, epochs=1, batch_size=20)
    trainer.save(run)
    return run, before


@pytest.fixture
def forge(run) -> Callable[..., Path]:
    """Write the run's checkpoint anew, with a right digest, after a change to its manifest."""

    def make(change) -> Path:
        _, manifest, arrays = checkpoint.read(run / checkpoint.NAME)
        change(manifest, arrays)
        (run / checkpoint.NAME).write_bytes(b"".join(archive.pack(arrays, manifest)))
        return run

    return make
