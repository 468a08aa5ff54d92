"""What holds on every machine: a cheap import, a probe that says what is missing, the switches."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

import agnostic_dl as adl
import agnostic_dl_cupy
from agnostic_dl.errors import BackendUnavailable, UsageError
from agnostic_dl_cupy import backend, precision, probe


def test_importing_and_probing_load_neither_cupy_nor_numpy():
    code = (
        "import sys, agnostic_dl_cupy as c\n"
        "c.agnostic_dl_backends()['cupy'].probe()\n"
        "print([m for m in ('cupy', 'numpy', 'cudnn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def driver(*, status: int = 0, count: int = 1) -> SimpleNamespace:
    def device_count(place):
        place._obj.value = count
        return 0

    return SimpleNamespace(cuInit=lambda flags: status, cuDeviceGetCount=device_count)


@pytest.mark.parametrize(
    ("installed", "found", "expected"),
    [
        (False, None, "CuPy is not installed"),
        (True, None, "no NVIDIA driver"),
        (True, driver(status=100), "cuInit returns 100"),
        (True, driver(count=0), "finds no device"),
        (True, driver(), None),
    ],
)
def test_the_probe_names_the_first_thing_that_is_missing(monkeypatch, installed, found, expected):
    monkeypatch.setattr(probe, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(probe, "_load_driver", lambda: found)
    reason = probe.reason()
    if expected is None:
        assert reason is None
    else:
        assert expected in reason
        assert "\n" not in reason


def test_an_unavailable_backend_is_listed_with_its_reason(monkeypatch):
    monkeypatch.setattr(probe, "find_spec", lambda name: None)
    info = next(info for info in adl.list_backends() if info.name == "cupy")
    assert not info.available
    assert "not installed" in info.reason
    with pytest.raises(BackendUnavailable, match="not installed"):
        adl.use_backend("cupy", device=7)


@pytest.mark.parametrize(
    ("given", "number"), [(None, None), (0, 0), (3, 3), (SimpleNamespace(id=2), 2)]
)
def test_a_device_is_a_number_or_an_object_that_has_one(given, number):
    assert backend._device_number(given) == number


@pytest.mark.parametrize("given", [True, "gpu", 1.5])
def test_another_device_is_refused(given):
    with pytest.raises(UsageError, match="expects a number"):
        backend._device_number(given)


@pytest.mark.parametrize("number", [2, -1])
def test_a_device_that_is_not_there_is_refused(monkeypatch, number):
    cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=lambda: 2))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    with pytest.raises(UsageError, match=f"0 to 1, got {number}"):
        backend.CupyBackend(number)


def test_tf32_is_off_unless_it_is_asked_for(monkeypatch):
    monkeypatch.delenv(precision.VARIABLE, raising=False)
    assert not agnostic_dl_cupy.allows_tf32()
    monkeypatch.setenv(precision.VARIABLE, "1")
    assert agnostic_dl_cupy.allows_tf32()
    with agnostic_dl_cupy.tf32(False):
        assert not agnostic_dl_cupy.allows_tf32()
        with agnostic_dl_cupy.tf32():
            assert agnostic_dl_cupy.allows_tf32()
    assert agnostic_dl_cupy.allows_tf32()
    monkeypatch.setenv(precision.VARIABLE, "yes")
    with pytest.raises(UsageError, match="expects 0 or 1"):
        agnostic_dl_cupy.allows_tf32()


def test_the_device_of_the_current_backend_is_cupys_current_one(monkeypatch):
    """CuPy computes with arrays of its current device alone."""
    used = []

    def device(number):
        return SimpleNamespace(id=number, use=lambda: used.append(number))

    cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=lambda: 2), Device=device)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(backend.CupyBackend, "own_kernels", lambda self: {})
    first, second = backend.CupyBackend(0), backend.CupyBackend(1)
    with adl.use_backend(first):
        with adl.use_backend(second):
            assert used == [0, 1]
        assert used == [0, 1, 0]


class Noting:
    """The names of CuPy's that arrays from elsewhere go through."""

    class ndarray:
        pass

    def __init__(self, locked=False):
        memory = SimpleNamespace(is_memory_pinned=lambda address: locked)
        self.cuda = SimpleNamespace(pinned_memory=memory)

    def asarray(self, host, blocking):
        return host, blocking

    def from_dlpack(self, obj):
        return SimpleNamespace(device=SimpleNamespace(id=0), of=obj)


def taken(monkeypatch, obj, **options):
    monkeypatch.setitem(sys.modules, "cupy", Noting(**options))
    made = object.__new__(backend.CupyBackend)
    made.device, made.number = nullcontext(), 0
    return made.asarray(obj)


@pytest.mark.parametrize("locked", [False, True])
def test_page_locked_memory_is_read_before_its_owner_goes_on(monkeypatch, locked):
    """Of other memory CuPy makes a copy at once; what to_numpy has made it reads later."""
    host = np.arange(5.0)
    array, waited = taken(monkeypatch, host, locked=locked)
    assert array is host
    assert waited is locked


@pytest.mark.parametrize("graphs", [None, SimpleNamespace(repeatable=False)])
def test_the_deterministic_mode_asks_cudnn_for_plans_that_repeat(graphs):
    made = object.__new__(backend.CupyBackend)
    made._graphs = graphs
    made.pin_threads()  # without cuDNN all is repeatable as it is
    assert graphs is None or graphs.repeatable


def test_a_single_zero_keeps_its_sign(monkeypatch):
    """CuPy makes 0-d arrays of the host by fill(), which clears the memory for every zero."""

    def asarray(self, host, blocking):
        return host.copy() if host.ndim or host != 0 else np.zeros((), host.dtype)

    monkeypatch.setattr(Noting, "asarray", asarray)
    array = taken(monkeypatch, -0.0)
    assert array.shape == ()
    assert np.signbit(array)


class OfTorch:
    """An array of a GPU; with a gradient its interface of CUDA's raises, as PyTorch's does."""

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self):
        raise AssertionError("CuPy asks for it")

    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")


def test_arrays_of_a_gpu_are_known_by_dlpack_first(monkeypatch):
    theirs = OfTorch()
    assert taken(monkeypatch, theirs).of is theirs
