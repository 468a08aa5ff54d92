"""The phases of gpu_check.py. A phase prints one line of JSON, or raises."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from cudnn_plans import SHAPES
from gpu_bench import Bench

import agnostic_dl as adl
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.testing import kernels as kit

CONV: dict[str, Any] = {"dilation": (1, 1), "groups": 1}


def environment(bench: Bench) -> dict[str, Any]:
    versions = {}
    for name in ("agnostic-dl-cupy", "cupy-cuda13x", "nvidia-cudnn-frontend", "torch", "numpy"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    x = bench.backend.xp.zeros(bench.pick(1 << 28, 1 << 10), dtype=bench.backend.dtypes["float32"])
    seconds = bench.medians(lambda: bench.backend.xp.asarray(x, copy=True))[0]
    result = {
        "versions": versions,
        "python": sys.version,
        "copy bytes per second": 2 * x.nbytes / seconds,
    }
    if bench.dry:
        return result
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(bench.backend.number)
    result["device"] = properties["name"].decode()
    result["driver"] = cupy.cuda.runtime.driverGetVersion()
    try:
        import cudnn

        result["cudnn properties"] = str(cudnn.create_device_properties(0).serialize())
    except Exception as error:
        result["cudnn properties"] = f"{type(error).__name__}: {error}"
    return result


def kernels(bench: Bench) -> dict[str, Any]:
    """Every kernel in float32 against the float64 reference, on ragged sizes."""
    n = bench.pick(33, 3)
    x, channel = bench.normal(n, 13, 11, 37), abs(bench.normal(37)) + 1
    pool: dict[str, Any] = {"kernel": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 0))}
    out = PRIMITIVES["max_pool2d"].forward(bench.host.xp, x, **pool)
    labels, logits = np.arange(n) % 10, bench.normal(n, 10)
    average = {**pool, "count_include_pad": False}
    gaps = {
        "relu": bench.gap("relu", x),
        "relu_grad": bench.gap("relu_grad", x, np.maximum(x, 0)),
        "max_pool2d": bench.gap("max_pool2d", x, **pool),
        "max_pool2d_grad": bench.gap("max_pool2d_grad", out, x, out, **pool),
        "avg_pool2d": bench.gap("avg_pool2d", x, **average),
        "avg_pool2d_grad": bench.gap("avg_pool2d_grad", out, size=(13, 11), **average),
        "batch_norm_input_grad": bench.gap(
            "batch_norm_input_grad", x, x, channel, channel, channel, eps=1e-5),
        "batch_norm_weight_grad": bench.gap(
            "batch_norm_weight_grad", x, x, channel, channel, eps=1e-5),
        "softmax_cross_entropy": bench.gap("softmax_cross_entropy", logits, labels),
        "softmax_cross_entropy_grad": bench.gap(
            "softmax_cross_entropy_grad", bench.normal(n), logits, labels),
    }  # fmt: skip
    worst = max(gaps.values())
    if not worst <= 1e-5:
        raise AssertionError(f"off by more than 1e-5: {gaps}")
    return {"gaps": gaps, "worst": worst}


def convolutions(bench: Bench) -> dict[str, Any]:
    """Every shape of the model zoo, three operations, float32 without TF32."""
    gaps = {}
    for network, shapes in SHAPES.items():
        for side, inputs, outputs, kernel, stride, padding in shapes[: bench.pick(None, 1)]:
            static = {**CONV, "stride": (stride,) * 2, "padding": ((padding,) * 2,) * 2}
            x = bench.normal(bench.pick(4, 1), bench.pick(side, 5), bench.pick(side, 5), inputs)
            w = bench.normal(kernel, kernel, inputs, outputs)
            g = bench.normal(*PRIMITIVES["conv2d"].forward(bench.host.xp, x, w, **static).shape)
            name = f"{network} {side} {inputs}-{outputs} {kernel}x{kernel}/{stride}"
            size = {"size": x.shape[1:3]}
            gaps[name] = [
                bench.gap("conv2d", x, w, **static),
                bench.gap("conv2d_input_grad", g, w, **static, **size),
                bench.gap("conv2d_weight_grad", x, g, **static, kernel=(kernel, kernel)),
            ]
    if not max(map(max, gaps.values())) <= 1e-5:
        raise AssertionError(f"off by more than 1e-5: {gaps}")
    return {"gaps": gaps}


def products(bench: Bench) -> dict[str, Any]:
    """Eager products in every layout, and the same product captured in a graph."""
    x, y = bench.normal(65, 129), bench.normal(129, 33)
    gaps = {"rows": bench.gap("matmul", x, y), "linear": bench.gap("linear", x, y, y[0])}
    if not max(gaps.values()) <= 1e-5:
        raise AssertionError(f"off by more than 1e-5: {gaps}")
    if bench.dry:
        return {"gaps": gaps, "captured": "needs a GPU"}
    return {"gaps": gaps, "captured equals eager": _capture(bench, lambda a, b: (a, b))}


def replay(bench: Bench) -> dict[str, Any]:
    """Replays of a captured product and rectifier, with other allocations in between."""
    if bench.dry:
        return {"skipped": "a CUDA graph needs a GPU"}
    junk: list[Any] = []

    def pollute(a: Any, b: Any) -> tuple[Any, Any]:
        junk.append(bench.backend.xp.full(a.shape, float("nan"), dtype=a.dtype))
        return a, b

    return {"replays equal eager": _capture(bench, pollute), "allocations": len(junk)}


def _capture(bench: Bench, between: Callable[..., Any]) -> bool:
    """Five replays of relu(x @ y) equal eager runs; *between* is called before each."""
    import cupy

    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    a, b = (bench.backend.asarray(bench.normal(64, 64)) for _ in range(2))
    run, k = bench.backend.kernels, bench.backend.xp
    with stream, cupy.cuda.using_allocator(pool.malloc):
        for _ in range(2):
            run["relu"](k, run["matmul"](k, a, b))
        stream.begin_capture()
        try:
            out = run["relu"](k, run["matmul"](k, a, b))
        finally:
            graph = stream.end_capture()
    for _ in range(5):
        between(a, b)
        a[...] = a * 0.5 + 1
        cupy.cuda.Device().synchronize()
        graph.launch(stream)
        stream.synchronize()
        wanted = np.maximum(cupy.asnumpy(a) @ cupy.asnumpy(b), 0)
        np.testing.assert_allclose(cupy.asnumpy(out), wanted, rtol=1e-4, atol=1e-4)
    return True


def conformance(bench: Bench) -> dict[str, Any]:
    """The kits for backend and kernels; rehearsed: the kernels' calls alone."""
    if not bench.dry:
        reports = (adl.testing.check_backend("cupy"), adl.testing.check_kernels("cupy"))
        return {"reports": [str(report) for report in reports]}
    subject = kit.Subject(bench.backend, bench.backend.kernels)
    return {name: kit.compare_kernel(subject, name) for name in sorted(subject.kernels)}


def training(bench: Bench) -> dict[str, Any]:
    """Losses of the same run here and on NumPy: within 1e-4 relative over 100 steps."""
    result = {}
    for name, shape in (("lenet", (28, 28, 1)), ("adam-paper-cnn", (32, 32, 3))):
        steps, batch = bench.pick((100, 32), (2, 2))
        shape = bench.pick(shape, (16, 16, shape[2]))
        ours, theirs = (_losses(b, name, shape, steps, batch) for b in (bench.backend, bench.host))
        gap = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))
        if not gap <= 1e-4:
            raise AssertionError(f"{name}: the losses differ by {gap:.1e}, allowed is 1e-4")
        result[name] = {"steps": steps, "largest relative difference": gap, "last loss": ours[-1]}
    return result


def _losses(backend: Any, name: str, shape: Any, steps: int, batch: int) -> list[float]:
    draw = np.random.default_rng(0)
    with adl.use_backend(backend):
        model = adl.models.create(name, input_shape=shape, classes=10)
        model.init(0)
        step = adl.train_step(model, adl.losses.cross_entropy, adl.optimizer("adam"), seed=0)
        losses = []
        for _ in range(steps):
            x = backend.asarray(draw.random((batch, *shape), dtype=np.float32))
            y = backend.asarray(draw.integers(0, 10, batch))
            losses.append(float(backend.to_numpy(step(x, y))))
    return losses


def mnist(bench: Bench) -> dict[str, Any]:
    """LeNet on MNIST: at least 98.8 % of the test set."""
    if bench.dry or not bench.mnist:
        return {"skipped": "needs a GPU and --mnist FOLDER, the four IDX files"}
    data = adl.data.load(bench.mnist)
    with adl.use_backend(bench.backend):
        model = adl.models.create("lenet", input_shape=(28, 28, 1), classes=10)
        trainer = adl.Trainer(model, adl.optimizer("adam"), backend="cupy", seed=0)
        trainer.fit(data.train, epochs=5, batch_size=128)
        accuracy = trainer.evaluate(data.test)["accuracy"]
    if not accuracy >= 0.988:
        raise AssertionError(f"accuracy {accuracy}, expected at least 0.988")
    return {"accuracy": accuracy}


def performance(bench: Bench) -> dict[str, Any]:
    """Convolutions beside PyTorch's, in turns, both sides without TF32; results compared first."""
    try:
        import torch
    except ImportError:
        return {"skipped": "torch is absent"}
    device = bench.pick("cuda", "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    rows = {}
    for side, inputs, outputs, kernel, stride, padding in SHAPES["resnet18"][: bench.pick(None, 1)]:
        batch, side = bench.pick((512, side), (1, 6))
        x, w = (
            bench.normal(batch, side, side, inputs),
            bench.normal(kernel, kernel, inputs, outputs),
        )
        static = {**CONV, "stride": (stride,) * 2, "padding": ((padding,) * 2,) * 2}
        ours = [bench.backend.asarray(a) for a in (x, w)]
        images = torch.from_numpy(x).permute(0, 3, 1, 2).to(device)
        weight = torch.from_numpy(w).permute(3, 2, 0, 1).to(device)
        weight = weight.contiguous(memory_format=torch.channels_last)

        def here(ours: Any = ours, static: Any = static) -> Any:
            return bench.backend.kernels["conv2d"](bench.backend.xp, *ours, **static)

        def there(
            images: Any = images, weight: Any = weight, s: int = stride, p: int = padding
        ) -> Any:
            return torch.nn.functional.conv2d(images, weight, stride=s, padding=p)

        got, wanted = bench.backend.to_numpy(here()), there().permute(0, 2, 3, 1).cpu().numpy()
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-3)
        mine, torchs = bench.medians(here, there)
        rows[f"{side} {inputs}-{outputs} {kernel}x{kernel}/{stride}"] = {
            "seconds": mine, "torch seconds": torchs, "ratio": torchs / mine
        }  # fmt: skip
    return {"float32 without TF32, forward": rows}


PHASES = {f.__name__: f for f in (
    environment, kernels, convolutions, products, replay, conformance, training, mnist, performance
)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("phase", choices=PHASES)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--mnist")
    options = parser.parse_args()
    bench = Bench(options)
    with adl.use_backend(bench.backend):
        result = PHASES[options.phase](bench)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
