"""The loops of pooling as text: one for each kind and size of window.

A window that lies inside the image is one loop over its channels, all its places side by side.
Windows go from the last to the first: where they overlap, what a pixel is given is then added up
in the reference's order, which is that of the places in a window.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple


class Kind(NamedTuple):
    """What a pooling does per channel c: before, at each of, and after a window's places.

    Of the placeholders, *x* is the image's value at the place, *d* the gradient's, *put* is "=" or
    "+="; *start* is what comes before the places where some may lie in the border.
    """

    reads: bool
    writes: bool
    before: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    each: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    #: What a place in the border holds; None: nothing is done there.
    border: str | None = None


# The larger, and NaN where one is: b where a > b is not so, but a where that is NaN. Two choices
# are twice as fast as one by "a > b or a != a".
_LARGER = ("m = a if a > b else b", "a = m if a == a else a")

#: Channels of a loop whose length is known when it is compiled, and which is then no loop at all.
_BLOCK = 16

KINDS = {
    "max": Kind(
        reads=True, writes=False, start=("a = -inf",), first=("a = {x}",),
        each=("b = {x}", *_LARGER), after=("out[{c}] = a",),
    ),
    "max_grad": Kind(
        reads=True, writes=True, before=("best = out[{c}]", "pull = grad[{c}]", "taken = False"),
        each=("wins = {x} == best and not taken", "{d} {put} pull if wins else zero",
              "taken = taken or wins"),
        border="taken = taken or best == -inf",
    ),
    "avg": Kind(
        reads=True, writes=False, start=("a = zero",), first=("a = {x}",), each=("a = a + {x}",),
        after=("out[{c}] = a * factor",),
    ),
    "avg_grad": Kind(
        reads=False, writes=True, before=("pull = grad[{c}] * factor",),
        each=("{d} {put} pull",),
    ),
}  # fmt: skip

#: Addresses of x, out, grad, dx and the factors, the shape, and the images from start to stop.
POINTERS = ("x", "out", "grad", "dx", "scale")

_TEMPLATE = """\
import math

from numpy import {dtype}

inf, zero = {dtype}(math.inf), {dtype}(0.0)


def window({places}, out, grad, factor, channels):
    whole = channels // {block}
    for k in range(whole):
        for c in range({block}):
{blocks}
    for e in range(channels - whole * {block}):
{rest}


def run(x, out, grad, dx, scale, shape, start, stop):
    height, width, channels, rows, columns = shape[0], shape[1], shape[2], shape[3], shape[4]
    down, across, top, left = shape[5], shape[6], shape[7], shape[8]
    for n in range(start, stop):
        image = n * height * width * channels
{clear}
        for oh in range(rows - 1, -1, -1):
            h = oh * down - top
            for ow in range(columns - 1, -1, -1):
                w = ow * across - left
                o = ((n * rows + oh) * columns + ow) * channels
                k = image + (h * width + w) * channels
                factor = scale[oh * columns + ow]
                if h >= 0 and w >= 0 and h + {kh} <= height and w + {kw} <= width:
                    window(
                        {addresses},
                        at(out, o), at(grad, o), factor, channels,
                    )
                    continue
                for c in range(channels):
{edge}
"""

_CLEAR = """\
        for c in range(image, image + height * width * channels):
            dx[c] = zero"""

_EDGE = """\
{before}
                    for i in range({kh}):
                        for j in range({kw}):
                            if 0 <= h + i < height and 0 <= w + j < width:
                                p = k + (i * width + j) * channels + c
{each}
                            else:
                                {border}
{after}"""


def text(kind: str, kernel: tuple[int, int], dtype: str, exact: bool) -> str:
    """The text for windows of one size; *exact*: they tile the image, each pixel in one of them."""
    what, places = KINDS[kind], list(product(*map(range, kernel)))
    (kh, kw), put = kernel, "=" if exact else "+="
    arrays = [name for name, used in (("x", what.reads), ("dx", what.writes)) if used]
    return _TEMPLATE.format(
        dtype=dtype, kh=kh, kw=kw,
        places=", ".join(f"{name}_{i}_{j}" for name in arrays for i, j in places),
        block=_BLOCK, blocks=_indented(12, _window(what, places, f"k * {_BLOCK} + c", put)),
        rest=_indented(8, _window(what, places, f"whole * {_BLOCK} + e", put)),
        clear=_CLEAR if what.writes and not exact else "",
        addresses=", ".join(
            f"at({name}, k + ({i} * width + {j}) * channels)"
            for name in arrays for i, j in places
        ),
        edge=_edge(what, kh, kw),
    )  # fmt: skip


def _window(what: Kind, places: list[tuple[int, int]], c: str, put: str) -> list[str]:
    lines = list(what.before)
    for at, (i, j) in enumerate(places):
        chosen = what.first if at == 0 and what.first else what.each
        lines += [
            line.format(x=f"x_{i}_{j}[{c}]", d=f"dx_{i}_{j}[{c}]", put=put) for line in chosen
        ]
    return [line.format(c=c) for line in (*lines, *what.after)]


def _edge(what: Kind, kh: int, kw: int) -> str:
    each = [line.format(x="x[p]", d="dx[p]", put="+=") for line in what.each]
    before, after = (
        [line.format(c="o + c") for line in lines]
        for lines in ((*what.before, *what.start), what.after)
    )
    return _EDGE.format(
        kh=kh, kw=kw, before=_indented(20, before), each=_indented(32, each),
        border=what.border or "pass", after=_indented(20, after),
    )  # fmt: skip


def _indented(by: int, lines: list[str]) -> str:
    return "\n".join(" " * by + line for line in lines)
