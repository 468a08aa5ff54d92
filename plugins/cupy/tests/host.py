"""Runs the body of a generated kernel on the CPU, compiled by the host's compiler."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

from agnostic_dl_cupy.codegen.preamble import SHARED

COMPILER = shutil.which("g++") or shutil.which("clang++")
HERE = Path(__file__).parent


def compiled(source, folder):
    """The kernel as a function of (count, fours, input arrays, output arrays)."""
    text, library = Path(folder) / f"{source.name}.cpp", Path(folder) / f"{source.name}.so"
    text.write_text((HERE / "host.h").read_text() + SHARED + source.body)
    # No contraction: a product and a sum are rounded separately, as on the GPU and in NumPy.
    command = [COMPILER, "-O1", "-std=c++17", "-ffp-contract=off", "-fPIC", "-shared", "-w"]
    subprocess.run([*command, str(text), "-o", str(library)], check=True, timeout=120)
    function = ctypes.CDLL(str(library))[source.name]
    function.restype = None

    def run(count, fours, ins, outs):
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*ins, *outs)]
        function(ctypes.c_longlong(count), ctypes.c_longlong(fours), *pointers)

    return run
