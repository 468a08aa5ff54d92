"""Our networks in JAX, written out: the same layers and geometry on images (N, H, W, C)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import agnostic_dl as adl

Arrays = dict[str, Any]
#: (parameters, statistics, x) → out; the statistics, a dict of the trace's own, are replaced in it.
Layer = Callable[[Arrays, Arrays, Any], Any]


class Twin(NamedTuple):
    """A network's parameters and running statistics by our names, and its training forward."""

    params: Arrays
    statistics: Arrays
    forward: Callable[[Arrays, Arrays, Any], tuple[Any, Arrays]]


def twin(model: Any) -> Twin:
    """A network of ours as JAX's, with its values."""
    params = {n: jnp.asarray(np.asarray(p.data)) for n, p in model.parameters().items()}
    statistics = {n: jnp.asarray(np.asarray(b.data)) for n, b in model.buffers().items()}
    layer = _layer(model, "")

    def forward(params: Arrays, statistics: Arrays, x: Any) -> tuple[Any, Arrays]:
        kept = dict(statistics)
        return layer(params, kept, x), kept

    return Twin(params, statistics, forward)


def _layer(layer: Any, path: str) -> Layer:
    kind = type(layer).__name__
    if kind == "Dropout" and layer.p == 0.0:
        kind = "Identity"
    if kind in _SIMPLE:
        function = _SIMPLE[kind]
        return lambda params, statistics, x: function(x)
    if kind in _WITH_VALUES:
        return _WITH_VALUES[kind](layer, path)
    if isinstance(layer, adl.nn.Sequential):
        parts = [_layer(inner, _join(path, name)) for name, inner in layer.layers.items()]
        return lambda params, statistics, x: _chain(parts, params, statistics, x)
    raise TypeError(f"no JAX function stands for {kind}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _chain(parts: list[Layer], params: Arrays, statistics: Arrays, x: Any) -> Any:
    for part in parts:
        x = part(params, statistics, x)
    return x


_SIMPLE: dict[str, Callable[[Any], Any]] = {
    "ReLU": jax.nn.relu, "Flatten": lambda x: x.reshape(x.shape[0], -1),
    "GlobalAvgPool2d": lambda x: x.mean(axis=(1, 2)), "Identity": lambda x: x,
}  # fmt: skip


def _convolution(layer: Any, path: str) -> Layer:
    padding = layer.padding if isinstance(layer.padding, str) else [(p, p) for p in layer.padding]
    padding = padding.upper() if isinstance(padding, str) else padding

    def apply(params: Arrays, statistics: Arrays, x: Any) -> Any:
        out = lax.conv_general_dilated(
            x, params[f"{path}.weight"], layer.stride, padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        return out if layer.bias is None else out + params[f"{path}.bias"]

    return apply


def _linear(layer: Any, path: str) -> Layer:
    return lambda params, statistics, x: x @ params[f"{path}.weight"] + params[f"{path}.bias"]


def _max_pool(layer: Any, path: str) -> Layer:
    window, stride = (1, *layer.kernel_size, 1), (1, *layer.stride, 1)
    return lambda params, statistics, x: lax.reduce_window(
        x, -jnp.inf, lax.max, window, stride, "VALID"
    )


def _batch_norm(layer: Any, path: str) -> Layer:
    moved = layer.momentum

    def apply(params: Arrays, statistics: Arrays, x: Any) -> Any:
        count = x.size // x.shape[-1]
        mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
        for name, new in (("mean", mean), ("var", var * (count / (count - 1)))):
            key = f"{path}.running_{name}"
            statistics[key] = (1 - moved) * statistics[key] + moved * lax.stop_gradient(new)
        scale = params[f"{path}.weight"] * lax.rsqrt(var + layer.eps)
        return (x - mean) * scale + params[f"{path}.bias"]

    return apply


def _block(layer: Any, path: str) -> Layer:
    names = ("conv1", "bn1", "conv2", "bn2", "shortcut")
    conv1, bn1, conv2, bn2, shortcut = (_layer(getattr(layer, n), f"{path}.{n}") for n in names)

    def apply(params: Arrays, statistics: Arrays, x: Any) -> Any:
        inner = jax.nn.relu(_chain([conv1, bn1], params, statistics, x))
        inner = _chain([conv2, bn2], params, statistics, inner)
        return jax.nn.relu(inner + shortcut(params, statistics, x))

    return apply


_WITH_VALUES: dict[str, Callable[[Any, str], Layer]] = {
    "Conv2d": _convolution, "Linear": _linear, "MaxPool2d": _max_pool,
    "BatchNorm2d": _batch_norm, "ResidualBlock": _block,
}  # fmt: skip
