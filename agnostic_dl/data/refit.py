"""Arrays of pictures in another size or in grey or colour, as `load` was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agnostic_dl.data.host import allocate, needs_extra
from agnostic_dl.errors import DataError

Size = tuple[int, int]  # (height, width)

# Grey of colour as ITU-R 601 has it, in 1/65536: Pillow's numbers, so that a picture from an array
# and the same picture from a file turn out equal.
_LUMA = np.array([19595, 38470, 7471], dtype=np.uint32)


def recoloured(images: NDArray[Any], mode: str | None, where: str) -> NDArray[Any]:
    """(N, H, W, 1) for mode "L", (N, H, W, 3) for "RGB", as they are for None; dtype kept."""
    channels = images.shape[3]
    if mode is None or channels == {"L": 1, "RGB": 3}[mode]:
        return images
    if channels not in (1, 3):
        raise DataError(
            f"{where}: images of {channels} channels cannot become {mode!r}; leave mode= out"
        )
    return np.repeat(images, 3, axis=3) if mode == "RGB" else _grey(images, where)


def _grey(images: NDArray[Any], where: str) -> NDArray[Any]:
    out = allocate((*images.shape[:3], 1), images.dtype, where)
    for row, image in enumerate(images):  # one by one: the wider sums stay small
        if image.dtype == np.uint8:
            out[row, ..., 0] = (image @ _LUMA + 32768) >> 16
        else:
            out[row, ..., 0] = np.clip(image @ (_LUMA / np.float32(65536)), 0, 1)
    return out


def resized(images: NDArray[Any], size: Size | None, where: str) -> NDArray[Any]:
    """(N, *size, C), bilinear and antialiased by Pillow, channel by channel; dtype kept."""
    if size is None or images.shape[1:3] == size:
        return images
    with needs_extra():
        from PIL import Image
    out = allocate((len(images), *size, images.shape[3]), images.dtype, where)
    width_height = size[::-1]
    for row, channel in np.ndindex(len(images), images.shape[3]):
        picture = Image.fromarray(images[row, ..., channel])
        out[row, ..., channel] = picture.resize(width_height, Image.Resampling.BILINEAR)
    return out if out.dtype == np.uint8 else np.clip(out, 0, 1, out=out)
