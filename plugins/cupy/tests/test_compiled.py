"""Every kernel for every dtype compiles for the architectures with NVRTC; none spills registers."""

from __future__ import annotations

import device_compiler
import pytest

from agnostic_dl_cupy import templates


@pytest.fixture(autouse=True)
def needs_nvrtc():
    device_compiler.require()


@pytest.mark.parametrize("architecture", device_compiler.ARCHITECTURES)
@pytest.mark.parametrize("variant", templates.variants(), ids="-".join)
def test_every_kernel_compiles_and_spills_nothing(variant, architecture, record_property):
    made = device_compiler.compiled(templates.source(variant), architecture, templates.OPTIONS)
    assert sorted(made.kernels) == sorted(templates.UNITS[variant.unit])
    for name, found in made.kernels.items():
        assert f".text.{name}\0".encode() in made.binary  # a symbol of the machine's code
        assert found.spilled == 0, (name, found)
        assert found.registers * 256 <= 65536, (name, found)  # a block of 256 threads fits
    record_property("kernels compiled", len(made.kernels))


def test_a_mistake_in_a_source_is_reported():
    with pytest.raises(AssertionError, match="oops"):
        device_compiler.compiled('extern "C" __global__ void k(float* x) { *x = oops; }', 90)


def test_a_kernel_that_spills_is_noticed():
    many = " ".join(f"float a{k} = x[{k}];" for k in range(200))
    kept = " ".join(f"x[{k}] = a{199 - k} * a{k};" for k in range(200))
    text = f'extern "C" __global__ void k(volatile float* x) {{ {many} {kept} }}'
    found = device_compiler.compiled(text, 90, ["--maxrregcount=32"]).kernels["k"]
    assert found.spilled > 0
    assert found.registers <= 32


def test_what_cannot_be_compiled_is_a_failure_where_it_must_be(monkeypatch):
    monkeypatch.setattr(device_compiler, "_folder", lambda: None)
    monkeypatch.delenv(device_compiler.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="NVRTC is not installed"):
        device_compiler.require()
    monkeypatch.setenv(device_compiler.REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="NVRTC is not installed"):
        device_compiler.require()
