"""NVRTC by ctypes, from its wheel: compiles CUDA on a machine that has neither a GPU nor CuPy.

NVRTC's own assembler tells registers and spills, so that no ptxas of a toolkit is needed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ARCHITECTURES = (80, 90, 100)
#: Set by the continuous integration: there, what cannot be compiled is no skip but a failure.
REQUIRED = "AGNOSTIC_DL_CUPY_MUST_COMPILE"
#: What CuPy 14 adds to the options that it is given.
CUPYS = ("-ftz=true", "--device-as-default-execution-space")
_USED = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers", re.DOTALL,
)  # fmt: skip


class Resources(NamedTuple):
    """What one kernel takes on the device."""

    registers: int
    spilled: int


class Compiled(NamedTuple):
    """PTX, the machine's code, and what each of its kernels takes."""

    ptx: str
    binary: bytes
    kernels: dict[str, Resources]


def missing():
    """Why nothing can be compiled here; None: it can."""
    if _folder() is None:
        return "NVRTC is not installed: pip install 'nvidia-cuda-nvrtc>=13,<14'"
    if not (_folder() / "include" / "cuda_fp16.h").exists():
        return "CUDA's headers are not installed: pip install 'nvidia-cuda-runtime>=13,<14'"
    return None


def require():
    """Skip the test where nothing can be compiled, or fail it where that is not allowed."""
    if missing() is not None:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(missing())


def _folder():
    """Where the wheels of CUDA 13 put their files; None: NVRTC's is not there."""
    spec = importlib.util.find_spec("nvidia")
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    for place in places:
        if (Path(place) / "cu13" / "lib" / "libnvrtc.so.13").exists():
            return Path(place) / "cu13"
    return None


@cache
def _library():
    # NVRTC looks for its builtins by their bare name, and finds those that are loaded already.
    for builtins in (_folder() / "lib").glob("libnvrtc-builtins.so.13*"):
        ctypes.CDLL(str(builtins))
    return ctypes.CDLL(str(_folder() / "lib" / "libnvrtc.so.13"))


def compiled(text, architecture, options=()):
    """A source for compute capability *architecture* / 10, as CuPy would have it compiled."""
    folder = f"-I{_folder() / 'include'}"
    return compiled_with(text, [*options, *CUPYS, folder, f"-arch=sm_{architecture}"])


def compiled_with(text, options):
    """A source with these options and no others."""
    given = [*options, "--ptxas-options=-v"]
    words = (ctypes.c_char_p * len(given))(*(word.encode() for word in given))
    library, program = _library(), ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None)
    try:
        status = library.nvrtcCompileProgram(program, len(given), words)
        log = _read(program, "ProgramLog").decode()
        assert status == 0, log
        kernels = {
            name: Resources(int(registers), int(stores) + int(loads))
            for name, stores, loads, registers in _USED.findall(log)
        }
        return Compiled(_read(program, "PTX").decode(), _read(program, "CUBIN"), kernels)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _read(program, what):
    """One of the compiler's results; its size is asked for first."""
    size = ctypes.c_size_t()
    assert getattr(_library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)) == 0
    text = ctypes.create_string_buffer(size.value)
    assert getattr(_library(), f"nvrtcGet{what}")(program, text) == 0
    return text.raw.rstrip(b"\0") if what != "CUBIN" else text.raw
