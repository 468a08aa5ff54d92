"""Backends: which one is current, where, on which device, with which kernels."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl.errors import BackendUnavailable, PluginError, UnknownNameError, UsageError

BACKENDS, KERNELS = "agnostic_dl.backends", "agnostic_dl.kernels"

TOY = """
from agnostic_dl.extend import hookimpl
from agnostic_dl_numpy import NumpyBackend

class Toy(NumpyBackend):
    name = "toy"

    @classmethod
    def probe(cls):
        return REASON

@hookimpl
def agnostic_dl_backends():
    return {"toy": Toy}
"""

KERNEL = """
from agnostic_dl.extend import hookimpl
priority = PRIORITY

def exp(xp, x):
    return xp.full_like(x, PRIORITY)

@hookimpl
def agnostic_dl_kernels(backend_name):
    return {"exp": exp} if backend_name == "numpy" else {}
"""


def names():
    return adl.get_backend().name


def test_use_backend_nests_and_gives_back():
    assert names() == "numpy"
    with adl.use_backend("strict") as outer:
        assert outer.name == names() == "strict"
        with adl.use_backend("numpy"):
            assert names() == "numpy"
        assert names() == "strict"
    assert names() == "numpy"


def test_use_backend_gives_back_after_an_error():
    with pytest.raises(ZeroDivisionError), adl.use_backend("strict"):
        1 / 0  # noqa: B018
    assert names() == "numpy"


def test_use_backend_without_with_stays(python):
    done = python("import agnostic_dl as a; a.use_backend('strict'); print(a.get_backend().name)")
    assert done.stdout.strip() == "strict"


def test_the_current_backend_is_the_threads_own():
    seen, ready, go = {}, threading.Barrier(3), threading.Barrier(3)

    def work(name):
        with adl.use_backend(name):
            ready.wait(10)
            seen[name] = names()
            go.wait(10)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("numpy", "strict")]
    for thread in threads:
        thread.start()
    ready.wait(10)
    seen["main"] = names()
    go.wait(10)
    for thread in threads:
        thread.join(10)
    assert seen == {"numpy": "numpy", "strict": "strict", "main": "numpy"}


@pytest.mark.parametrize(("value", "name"), [("strict", "strict"), ("", "numpy"), (None, "numpy")])
def test_the_environment_names_the_first_backend(monkeypatch, value, name):
    if value is None:
        monkeypatch.delenv("AGNOSTIC_DL_BACKEND", raising=False)
    else:
        monkeypatch.setenv("AGNOSTIC_DL_BACKEND", value)
    assert names() == name
    with adl.use_backend("numpy"):
        assert names() == "numpy"


def test_an_unknown_backend_names_the_near_match_and_what_is_installed(monkeypatch):
    with pytest.raises(UnknownNameError) as caught:
        adl.use_backend("nunpy")
    for word in ("'nunpy'", "Did you mean 'numpy'?", "numpy, strict"):
        assert word in str(caught.value)
    monkeypatch.setenv("AGNOSTIC_DL_BACKEND", "nunpy")
    with pytest.raises(UnknownNameError, match="Did you mean 'numpy'"):
        adl.get_backend()


def test_a_backend_that_cannot_run_here_says_why_and_names_those_that_can(install):
    module = "toy_that_cannot_run"
    install("toy-dist", {BACKENDS: {"toy": module}}, {module: TOY.replace("REASON", "'no device'")})
    with pytest.raises(BackendUnavailable) as caught:
        adl.use_backend("toy")
    assert str(caught.value) == "toy: no device. Installed and available: numpy, strict."
    info = next(info for info in adl.list_backends() if info.name == "toy")
    assert (info.available, info.reason, info.distribution) == (False, "no device", "toy-dist")


def test_a_backend_that_fails_to_import_is_listed_with_the_cause(install):
    install("toy-dist", {BACKENDS: {"toy": "toy_broken"}}, {"toy_broken": "import nowhere_at_all"})
    info = next(info for info in adl.list_backends() if info.name == "toy")
    assert not info.available
    assert "nowhere_at_all" in info.reason
    assert "toy-dist 1.0" in repr(info)
    with pytest.raises(PluginError, match="nowhere_at_all"):
        adl.use_backend("toy")
    assert adl.get_backend("numpy").name == "numpy"


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("toy", None, None), ("toy", 1, 1), ("toy", "1", 1), ("toy", "toy:1", 1),
        ("toy:1", None, 1), ("toy", "cpu", "cpu"),
    ],
)  # fmt: skip
def test_devices(install, name, device, expected):
    module = "toy_with_devices"
    install("toy-dist", {BACKENDS: {"toy": module}}, {module: TOY.replace("REASON", "None")})
    with adl.use_backend(name, device=device) as backend:
        assert (backend.name, backend.device) == ("toy", expected)
        assert adl.get_backend("toy") is backend


def test_the_same_backend_is_made_once():
    assert adl.get_backend("strict") is adl.get_backend("strict")


@pytest.fixture
def two_kernel_plugins(install):
    """Two plugins that replace exp on NumPy by a constant, 1 and (with higher priority) 2."""
    for number in (1, 2):
        module = f"constant_kernel_{number}"
        source = KERNEL.replace("PRIORITY", str(number))
        install(f"kernel-{number}", {KERNELS: {f"numpy.k{number}": module}}, {module: source})


def exp_with(kernels):
    with adl.use_backend("numpy", kernels=kernels) as backend:
        return float(adl.primitives.PRIMITIVES["exp"](backend.asarray([0.5]))[0])


@pytest.mark.parametrize(
    ("kernels", "expected"),
    [
        (None, 2.0), ((), np.exp(0.5)), (("numpy.k1",), 1.0), (("k1",), 1.0), ("k1", 1.0),
        (("k1", "k2"), 2.0), (("k2", "k1"), 2.0),
    ],
)  # fmt: skip
def test_kernel_plugins_are_chosen_by_name_and_priority(
    two_kernel_plugins, monkeypatch, kernels, expected
):
    monkeypatch.delenv("AGNOSTIC_DL_KERNELS", raising=False)
    assert exp_with(kernels) == pytest.approx(expected, rel=1e-15)


def test_the_environment_chooses_kernel_plugins(two_kernel_plugins, monkeypatch):
    monkeypatch.setenv("AGNOSTIC_DL_KERNELS", "k1")
    assert exp_with(None) == 1.0
    monkeypatch.setenv("AGNOSTIC_DL_KERNELS", " k1 , k2")
    assert exp_with(None) == 2.0
    monkeypatch.setenv("AGNOSTIC_DL_KERNELS", "")
    assert exp_with(None) == pytest.approx(np.exp(0.5), rel=1e-15)
    assert exp_with(("k2",)) == 2.0


def test_an_unknown_kernel_plugin_is_an_error(two_kernel_plugins):
    with pytest.raises(UnknownNameError, match=r"'numpy\.k3'.*numpy\.k1"):
        adl.use_backend("numpy", kernels=("k3",))


def test_a_broken_kernel_plugin_leaves_the_backend_as_it_is(install, monkeypatch):
    monkeypatch.delenv("AGNOSTIC_DL_KERNELS", raising=False)
    install(
        "kernel-3", {KERNELS: {"numpy.k3": "kernel_3"}}, {"kernel_3": "raise OSError('no .so')"}
    )
    assert exp_with(None) == pytest.approx(np.exp(0.5), rel=1e-15)
    info = next(i for i in adl.list_plugins() if i.name == "numpy.k3")
    assert (info.state, info.error) == ("failed", "OSError: no .so")
    with pytest.raises(PluginError, match=r"no \.so"):
        adl.use_backend("numpy", kernels=("k3",))


def test_asarray_keeps_the_dtype_and_converts_on_request(backend):
    for dtype in ("float32", "float64", "int64", "uint8", "bool"):
        array = backend.asarray(np.zeros((2, 3), dtype))
        assert isinstance(array, backend.array_type)
        assert array.dtype == backend.dtypes[dtype]
        assert backend.to_numpy(array).dtype == dtype
    assert backend.asarray([1, 2], dtype="float64").dtype == backend.dtypes["float64"]
    again = backend.asarray(backend.asarray([1.5, 2.5]))
    np.testing.assert_array_equal(backend.to_numpy(again), [1.5, 2.5])


def test_asarray_takes_arrays_of_the_other_backend(each_backend):
    strict = adl.get_backend("strict")
    for array in each_backend(lambda b: b.asarray(strict.asarray([1.0, 2.0]))):
        np.testing.assert_array_equal(np.asarray(array), [1.0, 2.0])


def test_synchronize_and_repr(backend):
    backend.synchronize()
    assert backend.name in repr(backend)


def test_a_dtype_that_is_not_there_is_refused_with_those_that_are(backend):
    with pytest.raises(UnknownNameError, match=r"no dtype 'float99': .*float32, float64"):
        backend.asarray([1.0], dtype="float99")


def test_a_backend_is_asked_for_by_name():
    with pytest.raises(UsageError, match="expects a backend's name, got int"):
        adl.use_backend(3)


def test_a_backend_that_cannot_pin_its_threads_says_so():
    with pytest.raises(UsageError, match="'strict' cannot be kept to one thread"):
        adl.get_backend("strict").pin_threads()


MODEST = """
from agnostic_dl.extend import hookimpl, rule
priority = PRIORITY

def exp(xp, x):
    return xp.full_like(x, PRIORITY) if x.shape[0] == PRIORITY else NotImplemented

@rule(("exp:out", "x"))
def named_by_priority(match):
    return None

@hookimpl
def agnostic_dl_kernels(backend_name):
    return {"exp": exp}

@hookimpl
def agnostic_dl_rewrites(backend_name):
    return [named_by_priority]
"""


def test_what_one_kernel_declines_the_next_computes(install):
    for k in (5, 7):
        module, source = f"modest_{k}", MODEST.replace("PRIORITY", str(k))
        install(f"modest-{k}", {KERNELS: {f"numpy.m{k}": module}}, {module: source})
    with adl.use_backend("numpy", kernels=("m5", "m7")) as backend:
        xp = adl.namespace("numpy")
        assert [float(xp.exp(xp.zeros((n,)))[0]) for n in (5, 6, 7)] == [5.0, 1.0, 7.0]
    with adl.use_backend("numpy", kernels=()) as alone:
        rules = [r for r in backend.rewrites if r not in alone.rewrites]
    assert [r.build.__module__ for r in rules] == ["modest_7", "modest_5"]
    assert backend.rewrites[:2] == tuple(rules), "the plugins' rules come before the backend's own"


def test_a_rule_that_is_none_is_told_with_its_plugin(install):
    source = MODEST.replace("PRIORITY", "5").replace("[named_by_priority]", "['exp']")
    install("odd", {KERNELS: {"numpy.odd": "odd"}}, {"odd": source})
    with pytest.raises(PluginError, match=r"odd.*agnostic_dl_rewrites returned str"):
        adl.use_backend("numpy", kernels=("numpy.odd",))
