"""Row 16: the same random networks on several array libraries, and the same mistakes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

import agnostic_dl as adl
from agnostic_dl import nn
from agnostic_dl.nn import functional as F
from reliability_rows import torch_backend
from reliability_rows.table import Outcome, row

_BOUNDS = {"float32": 1e-5, "float64": 1e-12}


def _backends() -> dict[str, Any]:
    found = {name: adl.get_backend(name) for name in ("numpy", "strict")}
    if torch_backend.available():
        found["torch"] = torch_backend.TorchBackend()
    return found


def network(dice: random.Random) -> nn.Module:
    """A few convolutions with whatever goes between them, then a classifier; for 7 × 6 × 2."""
    layers: list[nn.Module] = []
    channels, height, width = 2, 7, 6
    for _ in range(dice.randint(1, 3)):
        groups = dice.choice((1, 1, channels))
        out = groups * dice.randint(1, 3)
        kernel, stride = dice.choice((1, 2, 3)), dice.choice((1, 1, 2))
        padding = dice.randint(0, 1) if kernel < min(height, width) else 1
        layers.append(
            nn.Conv2d(
                channels, out, kernel, stride, padding, groups=groups, bias=dice.random() < 0.7
            )
        )
        channels = out
        height, width = ((n + 2 * padding - kernel) // stride + 1 for n in (height, width))
        if dice.random() < 0.4:
            layers.append(nn.BatchNorm2d(channels, eps=_EPS))
        layers.append(dice.choice(_SMOOTH)())
        if min(height, width) >= 4 and dice.random() < 0.5:
            layers.append(dice.choice((nn.MaxPool2d, nn.AvgPool2d))(2))
            height, width = height // 2, width // 2
    layers += [nn.Dropout(0.3)] if dice.random() < 0.5 else []
    layers.append(nn.Flatten())
    size = height * width * channels
    layers += [nn.LayerNorm(size, eps=_EPS)] if size > 2 and dice.random() < 0.3 else []
    return nn.Sequential(*layers, nn.Linear(size, 3))


#: Large, for a channel that hardly varies would be scaled up a thousand times, rounding and all.
_EPS = 1e-2
_SMOOTH: tuple[Callable[[], nn.Module], ...] = (
    nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.SiLU, nn.GELU, nn.Identity,
)  # fmt: skip


def _results(backend: Any, seed: int, dtype: str) -> dict[str, np.ndarray]:
    """Loss, outputs and every gradient of a training step."""
    dice = random.Random(seed)
    model = network(dice).astype(dtype)
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((5, 7, 6, 2)).astype(dtype)
    y = generator.integers(0, 3, 5)
    with adl.use_backend(backend):
        step = adl.train_step(model.init(seed), "cross_entropy", adl.optimizer("sgd"), seed=seed)
        loss, outputs, grads = step.gradients(backend.asarray(x), backend.asarray(y))
    found = {"loss": loss, "outputs": outputs, **grads}
    return {name: np.asarray(backend.to_numpy(array)) for name, array in found.items()}


def _difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """Largest difference, relative to the largest magnitude of its kind."""
    if one.keys() != other.keys():
        return float("inf")
    gradients = [np.abs(a).max() for n, a in one.items() if n not in ("loss", "outputs")]
    scales = {"loss": np.abs(one["loss"]), "outputs": np.abs(one["outputs"]).max()}
    largest = max(gradients)
    return float(max(
        np.abs(one[n] - other[n]).max() / max(scales.get(n, largest), 1e-30) for n in one
    ))  # fmt: skip


@row(
    16,
    "random networks across libraries",
    "500: float32 ≤ 1e-5, float64 ≤ 1e-12; 50 calls",
)
def networks(full: bool) -> Outcome:
    """NumPy's kernels, array-api-strict and, where it is installed, PyTorch."""
    outcome, backends = Outcome(), _backends()
    worst = dict.fromkeys(_BOUNDS, 0.0)
    for seed in range(500 if full else 12):
        good = True
        for dtype, bound in _BOUNDS.items():
            results = [_results(backend, seed, dtype) for backend in backends.values()]
            error = max(_difference(results[0], other) for other in results[1:])
            worst[dtype] = max(worst[dtype], error)
            good = good and error <= bound
        outcome.check(good, f"network {seed}: {network(random.Random(seed))}: {error:.1e}")
    calls = list(_mistakes())
    for name, call in calls if full else calls[::5]:
        kinds = {_raised(backend, call) for backend in backends.values()}
        outcome.check(len(kinds) == 1 and "nothing" not in kinds, f"{name}: {kinds}")
    figures = f"worst {worst['float32']:.0e} and {worst['float64']:.0e}"
    outcome.note(f"{figures}, on {', '.join(backends)}")
    return outcome


def _raised(backend: Any, call: Callable[[Any], Any]) -> str:
    with adl.use_backend(backend):
        try:
            call(backend)
        except Exception as error:
            return type(error).__name__
    return "nothing"


def _mistakes() -> list[tuple[str, Callable[[Any], Any]]]:
    """Fifty calls that are wrong, as functions of a backend."""

    def ones(b: Any, *shape: int, dtype: str = "float32") -> Any:
        return b.asarray(np.ones(shape, dtype))

    def step(model: nn.Module, x: tuple[int, ...], y: Any) -> Callable[[Any], Any]:
        def call(b: Any) -> Any:
            optimizer = adl.optimizer("sgd")
            made = adl.train_step(model.init(0), "cross_entropy", optimizer, check=True)
            return made(ones(b, *x), b.asarray(np.asarray(y)))

        return call

    found: list[tuple[str, Callable[[Any], Any]]] = []
    layers = {
        "conv": lambda x: nn.Conv2d(1, 2, 3).init(0)(x), "pool": lambda x: F.max_pool2d(x, 6),
        "linear": lambda x: nn.Linear(4, 2).init(0)(x),
        "batch norm": lambda x: nn.BatchNorm2d(3).init(0)(x),
        "layer norm": lambda x: nn.LayerNorm(7).init(0)(x),
    }  # fmt: skip
    for shape in ((2, 5), (2, 5, 5), (2, 5, 5, 2), (2, 1, 1, 1), (5,)):
        for name, layer in layers.items():
            found.append((f"{name} on {shape}", lambda b, s=shape, f=layer: f(ones(b, *s))))
    for labels in ([0, 1, 2], [[0], [1]], 0, [0.5, 1.0], [0, 7], [-1, 0]):
        model = nn.Sequential(nn.Linear(3, 2))
        found.append((f"labels {labels}", step(model, (2, 3), labels)))
    for kind, dtype in (("int64", "int64"), ("bool", "bool"), ("int32", "int32")):
        found.append((
            f"gradient of {kind}", lambda b, d=dtype: adl.grad(lambda x: x)(ones(b, 2, dtype=d))
        ))  # fmt: skip
        found.append((
            f"a {kind} that wants one", lambda b, d=dtype: adl.Tensor(ones(b, 2, dtype=d), True)
        ))  # fmt: skip
    for shape in ((2,), (1, 2), (2, 2)):
        found.append((
            f"a loss of {shape}", lambda b, s=shape: adl.grad(lambda x: x * 2)(ones(b, *s))
        ))  # fmt: skip
        found.append((
            f"a cotangent of {shape}",
            lambda b, s=shape: adl.Tensor(ones(b, 3), True).backward(ones(b, *s)),
        ))  # fmt: skip
    for bad in (np.zeros((9, 9), np.float32), np.zeros(3, np.float32)):
        state = {"weight": bad, "bias": np.zeros(2, np.float32)}
        found.append((
            f"a state of {bad.shape}",
            lambda b, s=state: nn.Linear(3, 2).init(0).load_state_dict(s),
        ))  # fmt: skip
    found += [
        ("a state with a name too few", lambda b: nn.Linear(3, 2).init(0).load_state_dict({})),
        ("a step without gradients", lambda b: _unmoved()),
        ("an unknown model", lambda b: adl.models.create("nett", input_shape=(8, 8, 1), classes=2)),
        ("an unknown optimizer", lambda b: adl.optimizer("addam")),
        ("backward of a constant", lambda b: adl.Tensor(ones(b, 1)).backward()),
    ]
    assert len(found) == 50, len(found)
    return found


def _unmoved() -> None:
    adl.optim.Engine(adl.optimizer("sgd")).bind(nn.Linear(1, 1).init(0)).step()
