"""The sweep over backends, and small helpers that every test module may ask for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import agnostic_dl as adl
from agnostic_dl import plugins

PROJECT = Path(__file__).parents[1]

#: Beside the installed backends: NumPy without kernels, NumPy that refuses to write into what it
#: was given, array-api-strict without all that the standard leaves optional, and array-api-strict
#: on a pretended device, whose arrays do not mix with the CPU's.
VARIANTS = ("numpy-reference", "numpy-read-only", "strictest", "strict-device")
#: Named even where it is not installed, so that a report shows what was not run and why.
DEVICES = ("cupy",)
SWEEP = tuple(dict.fromkeys((*plugins.names("backend"), *VARIANTS, *DEVICES)))


def _variant(name: str) -> adl.extend.Backend:
    """NumPy's backend with something taken away; its own instance, used by this test only."""
    numpy = adl.get_backend("numpy")

    class Reference(type(numpy)):
        def own_kernels(self) -> dict:
            return {}

    class ReadOnly(type(numpy)):
        def asarray(self, obj: Any, dtype: Any = None) -> Any:
            view = super().asarray(obj, dtype).view()
            view.flags.writeable = False
            return view

    return {"numpy-reference": Reference, "numpy-read-only": ReadOnly}[name]()


def open_backend(name: str, stack: ExitStack) -> adl.extend.Backend:
    """Make the backend or variant *name* the current one until *stack* ends; skip where absent."""
    if name.startswith("numpy-"):
        return stack.enter_context(adl.use_backend(_variant(name)))
    if name == "strictest":
        strict = pytest.importorskip("array_api_strict", reason="array-api-strict is absent")
        flags = strict.ArrayAPIStrictFlags(
            boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
        )
        stack.enter_context(flags)
    device = 1 if name == "strict-device" else None
    name = "strict" if name.startswith("strict") else name
    if name not in plugins.names("backend"):
        pytest.skip(f"{name}: no plugin offers this backend here")
    reason = next(info.reason for info in adl.list_backends() if info.name == name)
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    return stack.enter_context(adl.use_backend(name, device=device))


def pytest_collection_finish() -> None:
    """Where test modules have imported PyTorch: on tiny arrays its threads only wait."""
    if sys.modules.get("torch") is not None:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def one_thread_for_products() -> Iterator[None]:
    """The same for NumPy's BLAS: a test on a busy machine is up to ten times as fast."""
    try:
        from agnostic_dl_numpy.blas import single_threaded
    except ImportError:
        yield
        return
    with single_threaded():
        yield


@pytest.fixture(params=SWEEP)
def backend(request: pytest.FixtureRequest) -> Iterator[adl.extend.Backend]:
    """Each backend of the sweep in turn, current while the test runs."""
    with ExitStack() as stack:
        yield open_backend(request.param, stack)


@pytest.fixture
def xp(backend: adl.extend.Backend) -> Any:
    """The namespace of each backend of the sweep in turn."""
    return backend.xp


@pytest.fixture(params=("numpy", "numpy-reference"))
def host(request: pytest.FixtureRequest) -> Iterator[adl.extend.Backend]:
    """NumPy with its kernels and without: for grids too large for the whole sweep."""
    with ExitStack() as stack:
        yield open_backend(request.param, stack)


@pytest.fixture
def each_backend() -> Callable[[Callable[[adl.extend.Backend], Any]], list[Any]]:
    """Call a function on NumPy, NumPy without kernels and strict; the results, in that order."""

    def call(function: Callable[[adl.extend.Backend], Any]) -> list[Any]:
        results = []
        for name in ("numpy", "numpy-reference", "strict"):
            with ExitStack() as stack:
                results.append(function(open_backend(name, stack)))
        return results

    return call


@pytest.fixture
def draw() -> Callable[..., np.ndarray]:
    """Reproducible normals of a shape, float64 unless said otherwise."""

    def make(*shape: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
        return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)

    return make


@pytest.fixture
def relative_error() -> Callable[[Any, Any], float]:
    """Largest difference over largest magnitude of the expected array."""

    def measure(found: Any, expected: Any) -> float:
        found, expected = np.asarray(found), np.asarray(expected)
        assert found.shape == expected.shape
        scale = max(np.max(np.abs(expected), initial=0.0), np.finfo(expected.dtype).tiny)
        return float(np.max(np.abs(found - expected), initial=0.0) / scale)

    return measure


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess]:
    """Run code in a fresh interpreter: (source, *paths in front of sys.path, **environment)."""

    def run(source: str, *paths: Any, **environment: str) -> subprocess.CompletedProcess:
        env = {k: v for k, v in os.environ.items() if not k.startswith("AGNOSTIC_DL_")}
        env["PYTHONPATH"] = os.pathsep.join(map(str, paths))
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", source],
            capture_output=True, text=True, timeout=60, env={**env, **environment},
            cwd=PROJECT / "tests",
        )  # fmt: skip

    return run


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Install a made-up distribution: (name, {group: {entry: module}}, {module: source}).

    Returns the folder that is in front of sys.path during this test. Give modules names of their
    own in every test: what has been imported stays.
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def make(name: str, entries: dict, modules: dict, version: str = "1.0") -> Path:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = []
        for group, points in entries.items():
            lines += [f"[{group}]", *(f"{entry} = {module}" for entry, module in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source)
        plugins.refresh()
        return site

    yield make
    plugins.refresh()
