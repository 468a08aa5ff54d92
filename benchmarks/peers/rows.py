"""The rows of the comparison: what is trained, how closely losses must agree, what is promised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

FIRST, WITH_KERNELS = "numpy", "numpy+kernels"
EAGER, JAX = "torch", "jax"
#: Steps whose losses are compared.
CHECKED = 5


class Target(NamedTuple):
    """Time of *peer* / time of *ours* that is promised; None: whichever peer is the fastest."""

    ours: str
    peer: str | None
    ratio: float


@dataclass(frozen=True)
class Row:
    """A model of the library on pictures of *shape*, or an update of parameters (`shape` empty).

    *bounds*: the largest relative difference of two losses, for each of the steps compared.
    """

    key: str
    model: str
    shape: tuple[int, ...]
    bounds: tuple[float, ...]
    targets: tuple[Target, ...]
    batch: int = 128
    classes: int = 10
    optimizer: str = "adam"
    rate: float = 1e-4
    width: int = 64  # channels of the first stage, of an update's parameters

    @property
    def update_only(self) -> bool:
        """Whether it is an optimizer's update alone, of given gradients."""
        return not self.shape

    @property
    def pictures(self) -> bool:
        """Whether it has convolutions, so that their layout matters."""
        return self.model in ("lenet", "adam-paper-cnn", "resnet20")


def promised(alone: float, with_kernels: float) -> tuple[Target, ...]:
    """NumPy alone against PyTorch as it comes; with kernel plugins against the fastest peer."""
    return Target(FIRST, EAGER, alone), Target(WITH_KERNELS, None, with_kernels)


# All compute in float32, whose last place is 6e-8 of a value; sums of another order differ by a
# few of these, and that is all that a first loss may differ by. Then the updates come in: Adam's
# first steps are the gradient's sign times the rate, so that a gradient which rounding makes
# positive here and negative there moves its parameter by twice the rate. In the MLPs and in lenet
# so few do that five losses stay within rounding (2e-7 was seen; 3e-6 where PyTorch compiles Adam,
# whose 1 - 0.999 ** t is then of float32). In adam-paper-cnn rounding decides the winners of
# overlapping poolings and which of many ReLUs are open (7e-6 was seen), in resnet20 batch
# normalisation divides by what was summed as well (3e-5). The bounds are some five times what was
# seen: a wrong padding, layout, gradient or constant of Adam's shows at 1e-2.
SUMS = (1e-6, 4e-6, 8e-6, 1e-5, 1.5e-5)
WINNERS = (1e-6, 4e-6, 1e-5, 4e-5, 4e-5)
NORMALISED = (1e-6, 1e-5, 5e-5, 1e-4, 1.5e-4)
#: Of the way that the parameters have gone, which knows no drift: gradients are given.
GONE = (1e-6,) * CHECKED

ROWS: dict[str, Row] = {
    row.key: row
    for row in (
        Row("W1", "mlp", (28, 28, 1), SUMS, promised(1.0, 1.0)),
        Row("W2", "lenet", (28, 28, 1), SUMS, promised(1.0, 1.9)),
        Row("W3", "adam-paper-cnn", (32, 32, 3), WINNERS, promised(0.85, 1.4)),
        Row("W4", "resnet20", (32, 32, 3), NORMALISED, promised(0.55, 1.3)),
        Row("S", "tiny", (4,), SUMS, (
            Target(FIRST, EAGER, 4.0), Target(WITH_KERNELS, EAGER, 4.0),
            Target(WITH_KERNELS, JAX, 0.8)), batch=8, classes=3),
        Row("O1", "adam", (), GONE, promised(2.5, 1.2), rate=1e-3),
        Row("O2", "momentum", (), GONE, promised(1.0, 1.2), optimizer="momentum", rate=1e-3),
    )
}  # fmt: skip

#: Sizes on which a test takes no time; the geometry stays (odd sizes, strides, shortcuts).
_SMALL = {"mlp": (4, 4, 1), "lenet": (8, 8, 1), "adam-paper-cnn": (17, 17, 3),
          "resnet20": (8, 8, 3), "tiny": (4,)}  # fmt: skip


def small(row: Row) -> Row:
    """The row on a few small pictures, or on small parameters."""
    if row.update_only:
        return replace(row, width=4)
    return replace(row, shape=_SMALL[row.model], batch=4)


class Problem(NamedTuple):
    """A network of ours with its first weights, and a batch."""

    model: Any
    x: Any
    y: Any


def problem(row: Row) -> Problem:
    """The row's network, initialised on the current backend, and its batch."""
    import agnostic_dl as adl

    draw = np.random.default_rng(0)
    if row.model == "tiny":
        nn = adl.nn
        model = nn.Sequential(fc1=nn.Linear(4, 16), relu=nn.ReLU(), fc2=nn.Linear(16, row.classes))
    else:
        options = {"dropout": 0.0} if row.model == "mlp" else {}
        model = adl.models.create(row.model, input_shape=row.shape, classes=row.classes, **options)
    x = draw.normal(size=(row.batch, *row.shape)).astype(np.float32)
    return Problem(model.init(0), x, draw.integers(0, row.classes, row.batch))


def _tensors(width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Weights by name as in ResNet-18, somewhat narrower at its end."""
    yield "stem.weight", (3, 3, 3, width)
    yield from (("stem.scale", (width,)), ("stem.shift", (width,)))
    before = width
    for stage, channels in enumerate((width, 2 * width, 4 * width, 15 * width // 2)):
        for block in range(2):
            shapes = {"conv1": (3, 3, before, channels), "conv2": (3, 3, channels, channels)}
            if before != channels:
                shapes["shortcut"] = (1, 1, before, channels)
            for name, shape in shapes.items():
                yield f"{stage}.{block}.{name}.weight", shape
                yield f"{stage}.{block}.{name}.scale", (channels,)
                yield f"{stage}.{block}.{name}.shift", (channels,)
            before = channels
    yield from (("head.weight", (before, 10)), ("head.bias", (10,)))


def tensors(row: Row) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and their gradients by name, of a row that is an update alone."""
    draw = np.random.default_rng(0)
    shapes = dict(_tensors(row.width))
    params, grads = (
        {n: draw.normal(scale=scale, size=s).astype(np.float32) for n, s in shapes.items()}
        for scale in (0.05, 0.01)
    )
    return params, grads


def way(now: dict[str, Any], start: dict[str, Any]) -> float:
    """How far the parameters have gone, in float64: what updates are compared by."""
    squares = [np.sum((np.asarray(now[n], np.float64) - start[n]) ** 2) for n in start]
    return float(np.sqrt(sum(squares)))
