"""What `bench` times: training steps of the library's models, a convolution, an optimizer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from agnostic_dl import nn, train
from agnostic_dl.autograd import vjp
from agnostic_dl.backend import Backend
from agnostic_dl.backends import use_backend
from agnostic_dl.nn import functional as F
from agnostic_dl.nn import losses, models
from agnostic_dl.optim import optimizer

CLASSES = 10
#: The Adam paper's images are CIFAR's; the others' are MNIST's.
_SHAPES = {"adam-paper-cnn": (32, 32, 3), "resnet20": (32, 32, 3)}
#: The second convolution of adam-paper-cnn: sides, channels, filters, kernel.
_SIDE, _CHANNELS, _FILTERS, _KERNEL = 15, 64, 64, 5
_ARRAYS, _EACH = 60, 170_000


@dataclass(frozen=True)
class Work:
    """One call to be timed, and what it costs at least."""

    run: Callable[[], Any]
    flops: int
    bytes: int


@dataclass(frozen=True)
class Workload:
    """A row of the table: `prepare(backend)` makes the work; *images*: in one call, or 0."""

    name: str
    images: int
    prepare: Callable[[Backend], Work]


def choose(names: list[str], batch: int) -> list[list[Workload]]:
    """The workloads, in groups that are timed together. An unknown model is an error."""
    groups = []
    for name in names:
        models.create(name, input_shape=_shape(name), classes=CLASSES)
        groups.append([
            Workload(f"{name}, {kind}", batch, functools.partial(_step, name, batch, capture))
            for kind, capture in (("captured", True), ("eager", False))
        ])  # fmt: skip
    convolution = f"convolution {_KERNEL}×{_KERNEL}×{_CHANNELS}→{_FILTERS}"
    return [
        *groups,
        [Workload(convolution, batch, functools.partial(_convolution, batch))],
        [Workload("Adam, 10.2 M numbers", 0, _update)],
    ]


def _shape(model: str) -> tuple[int, int, int]:
    return _SHAPES.get(model, (28, 28, 1))


def _arrays(backend: Backend, *shapes: tuple[int, ...]) -> list[Any]:
    draw = np.random.default_rng(0)
    return [backend.asarray(draw.standard_normal(s, dtype=np.float32)) for s in shapes]


def _step(name: str, batch: int, capture: bool, backend: Backend) -> Work:
    """A full training step with Adam."""
    model = models.create(name, input_shape=_shape(name), classes=CLASSES).init(0)
    (x,) = _arrays(backend, (batch, *_shape(name)))
    y = backend.asarray(np.random.default_rng(1).integers(0, CLASSES, batch))
    return _trained(model, losses.cross_entropy, x, y, capture, backend)


def _trained(
    model: nn.Module, loss: Any, x: Any, y: Any, capture: bool, backend: Backend
) -> Work:  # fmt: skip
    step = train.train_step(model, loss, optimizer("adam"), capture=capture)
    cost = train.program(step, x, y)
    return Work(lambda: _finished(backend, lambda: step(x, y)), cost.flops, cost.bytes)


def _finished(backend: Backend, call: Callable[[], Any]) -> None:
    """The call and the device's work, on that backend whichever is the current one."""
    with use_backend(backend):
        call()
        backend.synchronize()


def _convolution(batch: int, backend: Backend) -> Work:
    """One convolution and both its gradients."""
    image, kernel = (batch, _SIDE, _SIDE), (_KERNEL, _KERNEL)
    x, weight, cotangent = _arrays(
        backend, (*image, _CHANNELS), (*kernel, _CHANNELS, _FILTERS), (*image, _FILTERS)
    )

    def run() -> None:
        _, pull_back = vjp(lambda x, w: F.conv2d(x, w, padding="same"), x, weight)
        pull_back(cotangent)

    flops = 3 * 2 * batch * _SIDE**2 * _KERNEL**2 * _CHANNELS * _FILTERS
    # Read: x, weight, and both again with the cotangent; written: the result and two gradients.
    moved = 4 * (3 * x.size + 3 * weight.size + 3 * cotangent.size)
    return Work(lambda: _finished(backend, run), flops, moved)


class FirstElements(nn.Module):
    """The sum of the first elements of its parameters: a step of it is little but the update."""

    def __init__(self, values: list[Any]) -> None:
        for number, value in enumerate(values):
            setattr(self, f"w{number}", nn.Parameter(value))

    def forward(self, x: Any) -> Any:
        """A 0-d Tensor; *x* is not looked at."""
        firsts = [parameter[0] for parameter in self.parameters().values()]
        return functools.reduce(lambda a, b: a + b, firsts)


def _update(backend: Backend) -> Work:
    """A captured step of a model whose gradients are as good as given."""
    model = FirstElements(_arrays(backend, *[(_EACH,)] * _ARRAYS))
    (x,) = _arrays(backend, (1,))
    return _trained(model, lambda out, _: out, x, backend.xp.zeros_like(x), True, backend)
