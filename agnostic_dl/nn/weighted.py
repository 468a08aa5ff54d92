"""Layers with parameters: linear, convolution, normalisation."""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.errors import ShapeError, UsageError
from agnostic_dl.nn import functional as F
from agnostic_dl.nn import init
from agnostic_dl.nn.module import Module
from agnostic_dl.nn.parameter import Buffer, Parameter
from agnostic_dl.primitives import PRIMITIVES


def _positive(who: str, **sizes: int) -> None:
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise UsageError(f"{who}: {name} must be a positive integer, got {value!r}")


class Linear(Module):
    """x @ weight + bias: (..., in_features) → (..., out_features); weight (in, out)."""

    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        _positive("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter((in_features, out_features), init.glorot_uniform)
        self.bias = Parameter((out_features,)) if bias else None

    def forward(self, x: Any) -> Any:
        """Apply the affine map to the last axis."""
        return F.linear(x, self.weight, self.bias, who=self.label())

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Conv2d(Module):
    """Convolve images (N, H, W, in_channels) → (N, H', W', out_channels).

    weight (kh, kw, in_channels / groups, out_channels). *padding*: an int, a pair, "same" or
    "valid"; see :func:`agnostic_dl.nn.functional.conv2d`.
    """

    bias: Parameter | None

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
    ) -> None:  # fmt: skip
        _positive("Conv2d", in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise UsageError(
                f"Conv2d: in_channels={in_channels} and out_channels={out_channels} must be "
                f"multiples of groups={groups}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = F.pair(kernel_size, "kernel_size", 1)
        self.stride, self.dilation = F.pair(stride, "stride", 1), F.pair(dilation, "dilation", 1)
        self.padding = padding if isinstance(padding, str) else F.pair(padding, "padding")
        self.weight = Parameter(
            (*self.kernel_size, in_channels // groups, out_channels), init.glorot_uniform
        )
        self.bias = Parameter((out_channels,)) if bias else None

    def forward(self, x: Any) -> Any:
        """Convolve and add the bias."""
        return F.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups,
            who=self.label(),
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Channels and geometry."""
        return (
            f"{self.in_channels}, {self.out_channels}, {self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding!r}, dilation={self.dilation}, groups={self.groups}, "
            f"bias={self.bias is not None}"
        )


class BatchNorm2d(Module):
    """Normalise each channel over the batch and the image, then scale and shift: (N, H, W, C).

    In training by the batch's statistics, which also move the running ones by *momentum* (the
    variance unbiased, as in PyTorch); in evaluation by the running ones.

    Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        _positive("BatchNorm2d", num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter((num_features,), init.ones)
        self.bias = Parameter((num_features,))
        self.running_mean = Buffer((num_features,))
        self.running_var = Buffer((num_features,), init.ones)

    def forward(self, x: Any) -> Any:
        """Normalise; in training also track."""
        if len(x.shape) != 4 or x.shape[3] != self.num_features:
            raise ShapeError(
                f"{self.label()}: expected images of shape (N, H, W, {self.num_features}), got "
                f"{tuple(x.shape)}"
            )
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return F.batch_norm(x, mean, var, self.weight, self.bias, self.eps)
        count = math.prod(x.shape[:-1])
        if count < 2:
            raise ShapeError(
                f"{self.label()}: training needs more than one value per channel, got "
                f"{tuple(x.shape)}"
            )
        out, mean, var = PRIMITIVES["batch_norm"](x, self.weight, self.bias, eps=self.eps)
        self._track(self.running_mean, mean, self.momentum)
        self._track(self.running_var, var, self.momentum * count / (count - 1), self.momentum)
        return out

    def _track(self, running: Buffer, new: Any, weight: float, momentum: float = 0.0) -> None:
        p, kept = PRIMITIVES, 1.0 - (momentum or weight)
        share = p["multiply"](new.detach(), weight)
        running.data = p["add"](p["multiply"](running.data, kept), share)

    def extra_repr(self) -> str:
        """Channels and constants."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class LayerNorm(Module):
    """Normalise over the trailing axes of length *shape*, then scale and shift.

    Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """

    def __init__(self, shape: int | tuple[int, ...], eps: float = 1e-5) -> None:
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.eps = eps
        self.weight = Parameter(self.shape, init.ones)
        self.bias = Parameter(self.shape)

    def forward(self, x: Any) -> Any:
        """Normalise each example."""
        if tuple(x.shape[len(x.shape) - len(self.shape) :]) != self.shape:
            raise ShapeError(
                f"{self.label()}: expected inputs that end in {self.shape}, got {tuple(x.shape)}"
            )
        return PRIMITIVES["layer_norm"](x, self.weight, self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        """Shape and epsilon."""
        return f"{self.shape}, eps={self.eps}"
