"""The machine, its second device, and asv's suite."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import agnostic_dl as adl
from gpu_checks import peer
from gpu_checks.bench import Bench, agree

PACKAGES = ("agnostic-dl", "agnostic-dl-cupy", "cupy-cuda13x", "cupy-cuda12x", "numpy",
            "nvidia-cudnn-frontend", "nvidia-cudnn-cu13", "nvidia-cublas", "torch")  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]


def environment(bench: Bench) -> dict[str, Any]:
    """Versions, the device, the bandwidth of a copy, and the properties that cuDNN sees."""
    x = bench.xp.zeros(bench.pick(1 << 28, 1 << 10), dtype=bench.backend.dtypes["float32"])
    seconds = bench.medians(lambda: bench.xp.asarray(x, copy=True), inner=5)[0]
    result = {
        "versions": {name: _version(name) for name in PACKAGES},
        "python": sys.version,
        "copy bytes per second": 2 * x.nbytes / seconds,
    }
    return result if bench.dry else result | _device(bench)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _device(bench: Bench) -> dict[str, Any]:
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(bench.backend.number)
    return {
        "device": properties["name"].decode(),
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "cudnn properties": _cudnn_properties(),
    }


def _cudnn_properties() -> Any:
    """For tools/cudnn_plans.py, which has some that were written by hand."""
    try:
        import cudnn

        found = cudnn.create_device_properties(0).serialize()
        found = bytes(found).decode() if isinstance(found, (bytes, bytearray, list)) else str(found)
        return json.loads(found)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def transfers(bench: Bench) -> dict[str, Any]:
    """To the device and back, below and above the size from which memory is page-locked; DLPack."""
    sizes = (1, 1000, bench.pick(20_000_000, 100_000))
    seconds = {}
    for size in sizes:
        for dtype in bench.available("float32", "float16", "bfloat16", "int64", "bool"):
            host = (np.arange(size) % 251).astype(bench.backend.dtypes[dtype])
            placed = bench.backend.asarray(host)
            np.testing.assert_array_equal(bench.backend.to_numpy(placed), host)
            np.testing.assert_array_equal(bench.backend.to_numpy(placed[::3]), host[::3])
        there, back = bench.medians(
            lambda host=host: bench.backend.asarray(host),
            lambda placed=placed: bench.backend.to_numpy(placed),
        )
        seconds[f"{host.nbytes} bytes"] = {"to the device": there, "back": back}
    return {"seconds": seconds, "DLPack with torch": _dlpack(bench)}


def _dlpack(bench: Bench) -> str:
    torch = peer.torch_or_none()
    if torch is None:
        return "torch is absent"
    theirs = torch.arange(12.0, device=peer.device(bench)).reshape(3, 4)
    ours = bench.backend.asarray(theirs)
    ours += 1  # the same memory, if no copy was made
    np.testing.assert_array_equal(bench.backend.to_numpy(ours), theirs.cpu().numpy())
    back = torch.from_dlpack(ours)
    np.testing.assert_array_equal(back.cpu().numpy(), theirs.cpu().numpy())
    return "without a copy, both ways"


def devices(bench: Bench) -> dict[str, Any]:
    """The second device, if there is one: transfers, kernels and training, as on the first."""
    if bench.dry:
        second: Any = bench.rehearsal()
    else:
        import cupy

        if cupy.cuda.runtime.getDeviceCount() < 2:
            return {"skipped": "there is one device"}
        second = adl.use_backend("cupy:1").backend
    x = bench.normal(33, 65)
    with adl.use_backend(second):
        placed = second.asarray(x)
        np.testing.assert_array_equal(second.to_numpy(placed), x)
        product = second.kernels["matmul"](second.xp, placed, placed.T)
        agree(second.to_numpy(product), x @ x.T, rtol=1e-4, atol=1e-4)
    moved = second.asarray(bench.place(x))
    np.testing.assert_array_equal(second.to_numpy(moved), x)
    losses = [_losses(backend) for backend in (bench.backend, second)]
    agree(losses[1], losses[0], rtol=1e-4)
    return {"losses": losses}


def _losses(backend: Any) -> list[float]:
    draw = np.random.default_rng(0)
    with adl.use_backend(backend):
        model = adl.models.create("lenet", input_shape=(8, 8, 1), classes=10).init(0)
        step = adl.train_step(model, "cross_entropy", adl.optimizer("adam"))
        x, y = draw.random((8, 8, 8, 1), dtype=np.float32), draw.integers(0, 10, 8)
        return [float(backend.to_numpy(step(x, y))) for _ in range(5)]


def suite(bench: Bench) -> dict[str, Any]:
    """asv's benchmarks of steps on this backend."""
    if importlib.util.find_spec("asv") is None:
        return {"skipped": "asv is not installed"}
    if not (ROOT / "asv_benchmarks" / "measure.py").exists():
        return {"skipped": "there is no asv_benchmarks/ here"}
    if bench.dry:
        return {"skipped": "a run of asv measures the backend itself, which needs a GPU"}
    if shutil.which("git") is None:
        return {"skipped": "git is not installed: asv asks it for the commit"}
    with tempfile.TemporaryDirectory() as folder:
        return {"output": _asv(_checkout(Path(folder)))}


def _checkout(folder: Path) -> Path:
    """The repository, or in a copy without git's data one that holds the suite alone."""
    if (ROOT / ".git").exists():
        return ROOT
    without = shutil.ignore_patterns("env", "results", "html")
    shutil.copytree(ROOT / "asv_benchmarks", folder / "asv_benchmarks", ignore=without)
    author = ["-c", "user.name=gpu_check", "-c", "user.email=gpu_check@localhost"]
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "The suite"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def _asv(checkout: Path) -> str:
    command = [sys.executable, "asv_benchmarks/measure.py", "run", "-E", "existing", "--quick",
               "-b", r"training.*'cupy'.*'lenet'.*128"]  # fmt: skip
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout[-6000:]
