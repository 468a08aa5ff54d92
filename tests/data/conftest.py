"""Small datasets made on the spot, and the real ones where they lie beside the project."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    """A smooth random picture, (H, W) grey or (H, W, C)."""

    def make(*shape: int, seed: int = 0) -> np.ndarray:
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, *shape[2:]), dtype=np.uint8)
        return np.asarray(Image.fromarray(coarse).resize(shape[1::-1], Image.Resampling.BICUBIC))

    return make


@pytest.fixture
def class_folders(tmp_path: Path, picture) -> Callable[..., Path]:
    """Write <root>/<class>/<k>.png; returns the root."""

    def make(
        root: str = "pets", classes=("cat", "dog"), count: int = 5, shape=(6, 8, 3), suffix=".png"
    ) -> Path:
        for index, name in enumerate(classes):
            folder = tmp_path / root / name
            folder.mkdir(parents=True, exist_ok=True)
            for k in range(count):
                image = picture(*shape, seed=100 * index + k)
                Image.fromarray(image).save(folder / f"{k}{suffix}")
        return tmp_path / root

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real datasets; skips, with its reason, where it is absent."""
    project = Path(__file__).parents[2]
    folder = Path(os.environ.get("AGNOSTIC_DL_DATA", project.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: neither $AGNOSTIC_DL_DATA nor {folder} is a folder")
    return folder
