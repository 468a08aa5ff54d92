"""Our networks in PyTorch, with the same layers, geometry and values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import agnostic_dl as adl


class ChannelsLastFlatten(nn.Module):
    """(N, C, H, W) → (N, H · W · C), the order of our linear weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x.flatten(1)


class GlobalAverage(nn.Module):
    """(N, C, H, W) → (N, C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


class Block(nn.Module):
    """The residual block of our models."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.conv1, self.bn1 = twin(ours.conv1), twin(ours.bn1)
        self.conv2, self.bn2 = twin(ours.conv2), twin(ours.bn2)
        self.shortcut = twin(ours.shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


def _tensor(array: Any) -> torch.Tensor:
    return torch.tensor(np.ascontiguousarray(array))


def _convolution(layer: Any) -> nn.Module:
    bias = layer.bias is not None
    made = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size,
                     stride=layer.stride, padding=layer.padding, bias=bias)  # fmt: skip
    made.weight.data = _tensor(np.transpose(layer.weight.data, (3, 2, 0, 1)))
    if bias:
        made.bias.data = _tensor(layer.bias.data)  # type: ignore[union-attr]
    return made


def _linear(layer: Any) -> nn.Module:
    made = nn.Linear(layer.in_features, layer.out_features)
    made.weight.data, made.bias.data = _tensor(layer.weight.data.T), _tensor(layer.bias.data)
    return made


_SIMPLE = {
    "ReLU": nn.ReLU, "Flatten": ChannelsLastFlatten, "GlobalAvgPool2d": GlobalAverage,
    "Identity": nn.Identity,
}  # fmt: skip


def twin(layer: Any) -> nn.Module:
    """A layer or network of ours as PyTorch's, with its values."""
    kind = type(layer).__name__
    if kind in _SIMPLE:
        return _SIMPLE[kind]()
    if kind == "Dropout" and layer.p == 0.0:
        return nn.Identity()
    if kind == "Conv2d":
        return _convolution(layer)
    if kind == "Linear":
        return _linear(layer)
    if kind == "BatchNorm2d":
        return nn.BatchNorm2d(layer.num_features, eps=layer.eps, momentum=layer.momentum)
    if kind == "MaxPool2d":
        return nn.MaxPool2d(layer.kernel_size, layer.stride)
    if kind == "ResidualBlock":
        return Block(layer)
    if isinstance(layer, adl.nn.Sequential):
        return nn.Sequential(*(twin(inner) for inner in layer.layers.values()))
    raise TypeError(f"no PyTorch layer stands for {kind}")
