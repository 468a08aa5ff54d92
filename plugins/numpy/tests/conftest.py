"""What the kernels' tests share: the comparison of a kernel with its reference; their helpers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl_numpy.kernels import KERNELS

sys.path.insert(0, str(Path(__file__).parent))

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def close(got: Any, wanted: Any) -> None:
    """Equal shapes and dtypes, and values to the dtype's tolerance at the scale of the result."""
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    assert type(got) is np.ndarray
    if wanted.size:
        scale = max(float(np.max(np.abs(wanted))), 1e-30)
        assert float(np.max(np.abs(got - wanted))) <= TOLERANCE[got.dtype.name] * scale


@pytest.fixture(scope="session")
def equals_reference() -> Any:
    import array_api_compat.numpy as xp

    def check(name: str, *arrays: Any, exact: bool = False, **static: Any) -> Any:
        """Run kernel and reference; returns the kernel's result. Declining is a failure."""
        wanted = PRIMITIVES[name].forward(xp, *arrays, **static)
        got = KERNELS[name](xp, *arrays, **static)
        assert got is not NotImplemented, f"{name} declined"
        for one, other in zip(_each(got), _each(wanted), strict=True):
            close(one, other)
            if exact:
                np.testing.assert_array_equal(one, other)
        return got

    return check


def _each(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.fixture
def draw() -> Any:
    """Standard normals of a shape, reproducible within a test."""
    generator = np.random.default_rng(0)
    return lambda *shape, dtype="float64": generator.standard_normal(shape).astype(dtype)
