"""Layers without parameters, and the containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from agnostic_dl.autograd import Tensor
from agnostic_dl.errors import UsageError
from agnostic_dl.nn import functional as F
from agnostic_dl.nn.module import Module
from agnostic_dl.nn.randomness import Stream, current_stream
from agnostic_dl.primitives import PRIMITIVES, library_of


class Sequential(Module):
    """Layers one after another: by position ("0", "1", ...) or by the names given as keywords."""

    def __init__(self, *layers: Module, **named: Module) -> None:
        self.layers = {**{str(i): layer for i, layer in enumerate(layers)}, **named}
        for name, layer in self.layers.items():
            if not isinstance(layer, Module):
                raise UsageError(
                    f"Sequential expects modules, got {type(layer).__name__} at {name!r}"
                )

    def children(self) -> Iterator[tuple[str, Module]]:
        """The layers by name."""
        yield from self.layers.items()

    def forward(self, x: Any) -> Any:
        """Apply the layers in order."""
        for layer in self.layers.values():
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, place: int | str) -> Module:
        names = list(self.layers)
        return self.layers[names[place] if isinstance(place, int) else place]


class _Function(Module):
    """A layer that is a function without parameters."""

    function: Callable[[Any], Any]

    def forward(self, x: Any) -> Any:
        """Apply the function."""
        return type(self).function(x)


class Identity(_Function):
    """x."""

    function = staticmethod(lambda x: x)


class Flatten(_Function):
    """(N, ...) → (N, the rest)."""

    function = staticmethod(F.flatten)


class GlobalAvgPool2d(_Function):
    """Mean over each image: (N, H, W, C) → (N, C)."""

    function = staticmethod(F.global_avg_pool2d)


class ReLU(_Function):
    """max(x, 0)."""

    function = staticmethod(F.relu)


class LeakyReLU(Module):
    """x where positive, else slope · x."""

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def forward(self, x: Any) -> Any:
        """Apply the function."""
        return F.leaky_relu(x, self.slope)


class Tanh(_Function):
    """Hyperbolic tangent."""

    function = staticmethod(F.tanh)


class Sigmoid(_Function):
    """1 / (1 + exp(-x))."""

    function = staticmethod(F.sigmoid)


class SiLU(_Function):
    """x · sigmoid(x)."""

    function = staticmethod(F.silu)


class GELU(_Function):
    """x · Φ(x), by the tanh approximation."""

    function = staticmethod(F.gelu)


class Softmax(Module):
    """exp(x) / Σ exp(x) along an axis."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """Apply the function."""
        return F.softmax(x, self.axis)


class Standardize(Module):
    """(x - mean) / std for each channel, by constants: puts a data set's scale into the model."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        if len(mean) != len(std) or not all(s > 0 for s in std):
            raise UsageError(f"Standardize: expected as many positive stds as means, got {std}")
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))

    def forward(self, x: Any) -> Any:
        """Shift and scale the last axis."""
        from array_api_compat import device

        plain = x._value if isinstance(x, Tensor) else x
        xp = library_of("Standardize", (plain,))[1]
        scale, shift = (
            xp.asarray(values, dtype=plain.dtype, device=device(plain))
            for values in (
                [1.0 / s for s in self.std],
                [-m / s for m, s in zip(self.mean, self.std, strict=True)],
            )
        )
        return PRIMITIVES["add"](PRIMITIVES["multiply"](x, scale), shift)


class MaxPool2d(Module):
    """Largest value of each window; the stride is the window's size unless given."""

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        self.kernel_size = F.pair(kernel_size, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else F.pair(stride, "stride", 1)
        self.padding = F.pair(padding, "padding")

    def forward(self, x: Any) -> Any:
        """(N, H, W, C) → (N, H', W', C)."""
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, who=self.label())

    def extra_repr(self) -> str:
        """Window, stride, padding."""
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(MaxPool2d):
    """Mean of each window; zeros of the border count unless *count_include_pad* is False."""

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, count_include_pad: bool = True
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Any:
        """(N, H, W, C) → (N, H', W', C)."""
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.count_include_pad,
            who=self.label(),
        )  # fmt: skip


class Dropout(Module):
    """In training, set each value to 0 with probability *p* and scale the others by 1 / (1 - p).

    Within a training step the mask depends on the seed, the step and this layer's name; outside of
    one, on how often the layer has been called.

    Source: Srivastava et al., "Dropout", JMLR 15, 2014.
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0.0 <= p < 1.0:
            raise UsageError(f"Dropout: expected a probability in [0, 1), got {p}")
        self.p = p
        self._own = Stream(seed=0, step=0)

    def forward(self, x: Any) -> Any:
        """Drop in training; the same values in evaluation."""
        if not self.training or self.p == 0.0:
            return x
        from array_api_compat import device

        plain = x._value if isinstance(x, Tensor) else x
        xp = library_of("Dropout", (plain,))[1]
        stream = current_stream() or self._own
        key, words = stream.draw(xp, self.path, device(plain))
        mask = PRIMITIVES["dropout_mask"](
            key, stream=words, shape=tuple(plain.shape), keep=1.0 - self.p, dtype=plain.dtype
        )
        return PRIMITIVES["multiply"](x, mask)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"
