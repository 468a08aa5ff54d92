"""Compiles CUDA with NVRTC on a machine that has no GPU."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

ARCHITECTURES = (80, 90, 100)
PTXAS = shutil.which("ptxas")


def missing():
    """Why nothing can be compiled here; None: it can."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    try:
        from cupy_backends.cuda.libs import nvrtc

        nvrtc.getVersion()
    except Exception as error:
        return f"NVRTC is not installed: {error}"
    return None


def to_ptx(text, architecture):
    """The PTX of a kernel for compute capability *architecture* / 10, with CuPy's own options."""
    from cupy_backends.cuda.libs import nvrtc

    program = nvrtc.createProgram(text, "kernel.cu", (), ())
    try:
        options = (f"-arch=compute_{architecture}", "-ftz=true", "-std=c++17")
        nvrtc.compileProgram(program, options)
        return nvrtc.getPTX(program)
    except nvrtc.NVRTCError as error:
        raise AssertionError(nvrtc.getProgramLog(program)) from error
    finally:
        nvrtc.destroyProgram(program)


def resources(ptx, architecture, folder):
    """(registers, bytes spilled) by ptxas, which makes the machine's code of the PTX."""
    path = Path(folder) / "kernel.ptx"
    path.write_bytes(ptx if isinstance(ptx, bytes) else ptx.encode())
    found = subprocess.run(
        [PTXAS, "-v", f"-arch=sm_{architecture}", str(path), "-o", str(path.with_suffix(".cubin"))],
        capture_output=True, text=True, timeout=120, check=True,
    ).stderr  # fmt: skip
    spilled = sum(map(int, re.findall(r"(\d+) bytes spill", found)))
    return int(re.findall(r"Used (\d+) registers", found)[0]), spilled
