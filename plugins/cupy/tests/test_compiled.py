"""Every kernel for every dtype compiles for the architectures with NVRTC; none spills registers."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest

from agnostic_dl_cupy import templates

compiler = pytest.importorskip("cupy.cuda.compiler", reason="CuPy is absent: nothing can compile")
ARCHITECTURES = ("80", "90", "100")


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Any:
    """source, architecture → binary; needs NVRTC and the CUDA headers, but no device."""
    from cupy._core import core

    kind = ["cubin"]
    # The one question to a device on the way to NVRTC.
    monkeypatch.setattr(
        compiler, "_get_arch_for_options_for_nvrtc",
        lambda arch=None: (
            f"-arch={'sm' if kind[0] == 'cubin' else 'compute'}_{arch}", kind[0],
        ),
    )  # fmt: skip
    try:
        core.assemble_cupy_compiler_options(())
    except Exception as error:
        pytest.skip(f"NVRTC or the CUDA headers are absent: {error}")

    def run(source: str, architecture: str, *, method: str = "cubin") -> Any:
        kind[0] = method
        options = core.assemble_cupy_compiler_options(templates.OPTIONS)
        return compiler.compile_using_nvrtc(source, options=options, arch=architecture)[0]

    return run


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("variant", templates.variants(), ids="-".join)
def test_every_kernel_compiles(compiled, variant, architecture, record_property):
    binary = compiled(templates.source(variant), architecture)
    # Symbols of a cubin: .text.<kernel>.
    found = [
        kernel for kernel in templates.UNITS[variant.unit] if f".text.{kernel}\0".encode() in binary
    ]
    assert found == list(templates.UNITS[variant.unit])
    record_property("kernels compiled", len(found))


def test_a_mistake_in_a_source_is_reported(compiled):
    with pytest.raises(compiler.CompileException, match="oops"):
        compiled('extern "C" __global__ void k(float* x) { x[0] = oops; }', "90")


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="the CUDA toolkit's ptxas is absent")
@pytest.mark.parametrize("variant", templates.variants(), ids="-".join)
def test_no_kernel_spills_registers(compiled, variant, tmp_path):
    (tmp_path / "k.ptx").write_bytes(compiled(templates.source(variant), "90", method="ptx"))
    done = subprocess.run(
        ["ptxas", "-v", "-arch=sm_90", "-o", tmp_path / "k.cubin", tmp_path / "k.ptx"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if "Unsupported .version" in done.stderr:
        pytest.skip("ptxas is older than NVRTC")
    assert done.returncode == 0, done.stderr
    stores = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", done.stderr)
    assert len(stores) == len(templates.UNITS[variant.unit])
    assert set(stores) == {("0", "0")}
