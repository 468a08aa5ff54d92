"""Generated kernels on the host: the body compiled by g++, run as a grid of one thread."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from agnostic_dl_cupy.codegen.preamble import SHARED
from agnostic_dl_cupy.codegen.source import Source
from agnostic_dl_cupy.rehearsal.host import shared_library


@cache
def compiled(source: Source) -> Callable[..., None]:
    """The kernel as a function of (count, fours, input arrays, output arrays)."""
    shim = files("agnostic_dl_cupy").joinpath("rehearsal", "chain.hpp").read_text(encoding="utf-8")
    # No contraction: a product and a sum are rounded separately, as on the GPU and in NumPy.
    library = shared_library(shim + SHARED + source.body, "-std=c++17", "-ffp-contract=off")
    function = getattr(library, source.name)
    function.restype = None

    def run(count: int, fours: int, ins: list[Any], outs: list[Any]) -> None:
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*ins, *outs)]
        function(ctypes.c_longlong(count), ctypes.c_longlong(fours), *pointers)

    return run
