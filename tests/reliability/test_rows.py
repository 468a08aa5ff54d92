"""Every row of the reliability table in its short form; the full form prints the table.

``python tests/reliability`` runs the full form: see docs/reliability.md.
"""

from __future__ import annotations

import pytest

pytest.importorskip("safetensors", reason="safetensors is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")

from reliability_rows import ROWS


@pytest.mark.parametrize("number", sorted(ROWS))
def test_row(number):
    outcome = ROWS[number].run(False)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.passed, "\n".join(outcome.failures)
