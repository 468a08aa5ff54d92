"""The tests' own helpers lie beside them; every test has NumPy's own kernels alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import agnostic_dl as adl

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def own_kernels() -> Iterator[None]:
    """Other plugins' kernels may add up in another order in a fused operation."""
    with adl.use_backend("numpy", kernels=()):
        yield
