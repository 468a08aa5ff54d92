"""Datasets of pictures on the host: uint8 in memory, float32 in [0, 1] batch by batch.

`load` reads a folder of IDX files, a folder of class folders, an ``.npz`` archive or the built-in
``digits``; `load_image` reads one picture for a prediction. NumPy is imported with the first name
that is used, Pillow only where pictures are decoded or resized; both come with the extra ``cli``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agnostic_dl.data.host import needs_extra

if TYPE_CHECKING:
    from agnostic_dl.data.arrays import from_arrays
    from agnostic_dl.data.dataset import Data, Dataset, split
    from agnostic_dl.data.images import load_image
    from agnostic_dl.data.loading import load

__all__ = ["load", "load_image", "from_arrays", "split", "Data", "Dataset"]

_HOMES = {
    "load": "loading",
    "load_image": "images",
    "from_arrays": "arrays",
    "split": "dataset",
    "Data": "dataset",
    "Dataset": "dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needs_extra():
        module = import_module(f"{__name__}.{_HOMES[name]}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
