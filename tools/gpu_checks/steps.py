"""Whole training steps beside PyTorch's, from the same weights on the same batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

import agnostic_dl as adl
from agnostic_dl_cupy import tf32
from gpu_checks import peer
from gpu_checks.bench import Bench, agree, aims

Step = Callable[[], Any]
#: How far the losses of the first steps may be apart, relative to the first: by precision.
LOSSES = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 5e-2}


class Problem:
    """A model of ours with its first weights and a batch, and PyTorch's twin of both."""

    def __init__(self, bench: Bench, name: str, shape: tuple[int, int, int], batch: int) -> None:
        self.bench, self.name, self.shape = bench, name, shape
        draw = np.random.default_rng(0)
        self.x = draw.standard_normal((batch, *shape), dtype=np.float32)
        self.y = draw.integers(0, 10, batch)

    def _model(self) -> Any:
        return adl.models.create(self.name, input_shape=self.shape, classes=10).init(0)

    def ours(self, **options: Any) -> Step:
        """A step of ours; *options* are those of train_step."""
        optimizer = adl.optimizer("adam", learning_rate=1e-3)
        step = adl.train_step(self._model(), "cross_entropy", optimizer, seed=0, **options)
        x, y = self.bench.place(self.x), self.bench.place(self.y)
        return lambda: step(x, y)

    def theirs(self, wrap: Callable[[Any], Any] = lambda module: module, **options: Any) -> Step:
        """A step of PyTorch; *wrap*: what becomes of its module first."""
        torch = peer.torch_or_none()
        module = wrap(peer.twin(self.bench, self.name, self._model(), self.shape[2]))
        y = torch.from_numpy(self.y).to(peer.device(self.bench))
        return peer.training_step(self.bench, module, peer.images(self.bench, self.x), y, **options)


def _compared(problem: Problem, steps: dict[str, Step], precision: str) -> dict[str, Any]:
    """The first losses of all, which have to agree."""
    losses = {name: _first(problem, step) for name, step in steps.items()}
    reference = next(iter(losses.values()))
    for name, found in losses.items():
        off = LOSSES[precision] * reference[0]
        agree(found, reference, rtol=0, atol=off, name=name)
    return losses


def _first(problem: Problem, step: Step) -> list[float]:
    found = []
    for _ in range(3):
        loss = step()
        found.append(float(loss if type(loss).__module__ == "torch" else
                           problem.bench.backend.to_numpy(loss)))  # fmt: skip
    return found


def _timed(problem: Problem, steps: dict[str, Step], inner: int) -> dict[str, float]:
    times = problem.bench.medians(*steps.values(), inner=inner)
    return dict(zip(steps, times, strict=True))


def launch_bound(bench: Bench) -> dict[str, Any]:
    """LeNet at batch 128: ours captured and eager, PyTorch's eager and in a graph made by hand."""
    shape, batch = bench.pick(((28, 28, 1), 128), ((8, 8, 1), 2))
    problem, torch = Problem(bench, "lenet", shape, batch), peer.torch_or_none()
    steps = {"ours": problem.ours(), "ours, eager": problem.ours(capture=False)}
    result: dict[str, Any] = {"model": "lenet", "batch": batch, "our switches": "float32, no TF32"}
    if torch is None:
        result["torch"] = "absent"
    else:
        result["their switches"] = peer.switches(torch, tf32=False)
        steps["torch, eager"] = problem.theirs()
    result["first losses"] = _compared(problem, steps, "float32")
    if torch is not None:  # its warm-up makes steps of its own
        steps["torch, CUDAGraph"] = peer.graphed(bench, problem.theirs())
    result["seconds"] = seconds = _timed(problem, steps, inner=20)
    bench.note(result)
    result["host seconds"] = {n: bench.host_seconds(step) for n, step in steps.items()}
    result["ratios"] = {n: t / seconds["ours"] for n, t in seconds.items() if n != "ours"}
    return result | aims(result["ratios"], **{"torch, eager": 3.0, "torch, CUDAGraph": 0.95})


def resnet18(bench: Bench) -> dict[str, Any]:
    """ResNet-18 on CIFAR's shapes at batch 512, beside PyTorch's eager steps, channels last."""
    return _resnet18(bench, {"torch, eager": lambda module: module}, ("bfloat16", "tf32"))


def resnet18_compiled(bench: Bench) -> dict[str, Any]:
    """The same beside torch.compile, which takes most of its time to compile."""
    torch = peer.torch_or_none()
    if torch is None:
        return {"skipped": "torch is absent"}
    mode = {"backend": bench.pick("inductor", "eager")}
    wraps = {"torch, compiled": lambda module: torch.compile(module, **mode)}
    found = _resnet18(bench, wraps, ("bfloat16",))
    # There is time to compile once.
    available = "not available" not in found["bfloat16"]
    return found if available else found | _resnet18(bench, wraps, ("tf32",))


def _resnet18(
    bench: Bench, wraps: dict[str, Callable[[Any], Any]], precisions: tuple[str, ...]
) -> dict[str, Any]:
    shape, batch = bench.pick(((32, 32, 3), 512), ((8, 8, 3), 4))
    problem = Problem(bench, bench.pick("resnet18", "resnet20"), shape, batch)
    result: dict[str, Any] = {"model": problem.name, "batch": batch}
    for precision in precisions:
        try:
            result[precision] = _in(bench, problem, precision, wraps)
            bench.note(result)
        except Unavailable as error:
            result[precision] = {"not available": str(error)}
    return result


class Unavailable(Exception):
    """The backend does not have this precision here; its text says why."""


def _in(
    bench: Bench, problem: Problem, precision: str, wraps: dict[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    torch, short = peer.torch_or_none(), precision == "bfloat16"
    with nullcontext() if short else tf32():
        result: dict[str, Any] = {"our switches": precision}
        result["bytes of a step of ours"] = _bytes(problem, short)
        steps = {"ours": _ours(problem, short)}
        if torch is None:
            result["torch"] = "absent"
        else:
            autocast = "autocast(bfloat16)" if short else "none"
            result["their switches"] = peer.switches(torch, tf32=True) | {"autocast": autocast}
            steps |= {n: problem.theirs(wrap, bfloat16=short) for n, wrap in wraps.items()}
        result["first losses"] = _compared(problem, steps, precision)
        result["seconds"] = seconds = _timed(problem, steps, inner=3)
    result["images per second"] = {n: len(problem.y) / t for n, t in seconds.items()}
    result["ratios"] = {n: t / seconds["ours"] for n, t in seconds.items() if n != "ours"}
    return result | aims(result["ratios"], **{"torch, eager": 1.1, "torch, compiled": 0.85})


def _bytes(problem: Problem, short: bool) -> int:
    """Device memory of a captured step: its batch, parameters and their state, what it computes."""
    step = _ours(problem, short)
    for _ in range(4):
        step()
    with_it = problem.bench.device_bytes()
    del step
    return with_it - problem.bench.device_bytes()


def _ours(problem: Problem, short: bool) -> Step:
    if not short:
        return problem.ours()
    backend = problem.bench.backend
    if "bfloat16" not in backend.dtypes:
        raise Unavailable(f"the backend {backend.name!r} has no bfloat16 here: is ml_dtypes there?")
    return problem.ours(precision="bfloat16")
