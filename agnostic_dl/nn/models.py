"""Networks for images by name, sized by the data: linear, mlp, lenet, adam-paper-cnn, resnets."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

from agnostic_dl.errors import UnknownNameError, UsageError
from agnostic_dl.nn import functional as F
from agnostic_dl.nn.layers import (
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Identity,
    MaxPool2d,
    ReLU,
    Sequential,
    Standardize,
)
from agnostic_dl.nn.module import Module
from agnostic_dl.nn.weighted import BatchNorm2d, Conv2d, Linear

Shape = tuple[int, int, int]


def linear(input_shape: Shape, classes: int) -> Sequential:
    """Multinomial logistic regression."""
    return Sequential(flatten=Flatten(), fc=Linear(math.prod(input_shape), classes))


def mlp(input_shape: Shape, classes: int, dropout: float = 0.5) -> Sequential:
    """Two layers of 1,000 ReLUs, each followed by dropout.

    Source: the network of Kingma and Ba, "Adam", ICLR 2015, section 6.2.
    """
    return Sequential(
        flatten=Flatten(),
        fc1=Linear(math.prod(input_shape), 1000), relu1=ReLU(), dropout1=Dropout(dropout),
        fc2=Linear(1000, 1000), relu2=ReLU(), dropout2=Dropout(dropout),
        fc3=Linear(1000, classes),
    )  # fmt: skip


def lenet(input_shape: Shape, classes: int) -> Sequential:
    """Two 3×3 convolutions of 32 and 64 filters with max-pooling, and a hidden layer of 128."""
    height, width, channels = input_shape
    _at_least(input_shape, 4, "lenet")
    return Sequential(
        conv1=Conv2d(channels, 32, 3, padding="same"), relu1=ReLU(), pool1=MaxPool2d(2),
        conv2=Conv2d(32, 64, 3, padding="same"), relu2=ReLU(), pool2=MaxPool2d(2),
        flatten=Flatten(),
        fc1=Linear((height // 4) * (width // 4) * 64, 128), relu3=ReLU(), fc2=Linear(128, classes),
    )  # fmt: skip


def adam_paper_cnn(input_shape: Shape, classes: int, dropout: float = 0.0) -> Sequential:
    """Three stages of 5×5 convolution, ReLU and 3×3 max-pooling of stride 2; 1,000 hidden ReLUs.

    *dropout*: of the hidden layer, and half as much of the input; the paper gives no shares.

    Source: the CIFAR-10 network of Kingma and Ba, "Adam", ICLR 2015, section 6.3.
    """
    _at_least(input_shape, 15, "adam-paper-cnn")
    height, width = input_shape[:2]
    layers: dict[str, Module] = {"dropout1": Dropout(dropout / 2)} if dropout else {}
    channels = input_shape[2]
    for stage, filters in enumerate((64, 64, 128), start=1):
        layers[f"conv{stage}"] = Conv2d(channels, filters, 5, padding="same")
        layers[f"relu{stage}"] = ReLU()
        layers[f"pool{stage}"] = MaxPool2d(3, stride=2)
        height, width, channels = (height - 3) // 2 + 1, (width - 3) // 2 + 1, filters
    return Sequential(
        **layers, flatten=Flatten(),
        fc1=Linear(height * width * channels, 1000), relu4=ReLU(),
        **({"dropout2": Dropout(dropout)} if dropout else {}), fc2=Linear(1000, classes),
    )  # fmt: skip


class ResidualBlock(Module):
    """Two 3×3 convolutions with batch norm, added to a shortcut.

    The shortcut is the identity, or a 1×1 convolution with batch norm where the shape changes.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride
        self.conv1 = Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(out_channels)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(out_channels)
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = (
            Sequential(
                conv=Conv2d(in_channels, out_channels, 1, stride, bias=False),
                bn=BatchNorm2d(out_channels),
            )
            if changes
            else Identity()
        )

    def forward(self, x: Any) -> Any:
        """(N, H, W, in_channels) → (N, H / stride, W / stride, out_channels)."""
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


def resnet20(input_shape: Shape, classes: int) -> Sequential:
    """The residual network for CIFAR: three stages of three blocks, 16, 32 and 64 channels.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
    section 4.2 (with projections on the shortcuts where the shape changes).
    """
    return _residual(input_shape[2], classes, stages=(16, 32, 64), blocks=3)


def resnet18(input_shape: Shape, classes: int) -> Sequential:
    """A residual network of four stages of two blocks, 64, 128, 256 and 512 channels.

    It begins, as usual for small images, with a 3×3 convolution of stride 1 and no pooling.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
    table 1, without the first pooling.
    """
    return _residual(input_shape[2], classes, stages=(64, 128, 256, 512), blocks=2)


def _residual(channels: int, classes: int, stages: tuple[int, ...], blocks: int) -> Sequential:
    """A first convolution, stages of residual blocks that halve the image, the mean, a layer."""
    layers: dict[str, Module] = {
        "conv1": Conv2d(channels, stages[0], 3, padding=1, bias=False),
        "bn1": BatchNorm2d(stages[0]),
        "relu1": ReLU(),
    }
    channels = stages[0]
    for stage, filters in enumerate(stages, start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            layers[f"stage{stage}_block{block + 1}"] = ResidualBlock(channels, filters, stride)
            channels = filters
    return Sequential(**layers, pool=GlobalAvgPool2d(), fc=Linear(channels, classes))


_BUILDERS: dict[str, Callable[..., Sequential]] = {
    "linear": linear,
    "mlp": mlp,
    "lenet": lenet,
    "adam-paper-cnn": adam_paper_cnn,
    "resnet20": resnet20,
    "resnet18": resnet18,
}


def names() -> list[str]:
    """The models that :func:`create` knows."""
    return list(_BUILDERS)


def create(
    name: str, *, input_shape: tuple[int, ...], classes: int,
    standardize: tuple[Any, Any] | None = None, **options: Any,
) -> Sequential:  # fmt: skip
    """Build a model by name for images of *input_shape* = (H, W, C) and a number of classes.

    *standardize*: (means, stds) of the channels, applied by a first layer without parameters.
    Further options are the model's own, such as `dropout` of mlp.
    """
    if name not in _BUILDERS:
        near = difflib.get_close_matches(str(name), _BUILDERS, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownNameError(f"unknown model {name!r}.{hint} Known: {', '.join(_BUILDERS)}.")
    shape = _checked(input_shape, classes)
    try:
        model = _BUILDERS[name](shape, classes, **options)
    except TypeError as error:
        raise UsageError(f"model {name!r}: {error}") from error
    if standardize is not None:
        means, stds = (tuple(map(float, values)) for values in standardize)
        model = Sequential(**{"standardize": Standardize(means, stds), **model.layers})
    return model


def _checked(input_shape: Any, classes: Any) -> Shape:
    shape = tuple(input_shape)
    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise UsageError(f"input_shape: expected (height, width, channels), got {input_shape!r}")
    if not isinstance(classes, int) or classes < 2:
        raise UsageError(f"classes: expected an integer of at least 2, got {classes!r}")
    return shape


def _at_least(input_shape: Shape, least: int, name: str) -> None:
    if min(input_shape[:2]) < least:
        raise UsageError(
            f"{name} needs images of at least {least}×{least}, got {input_shape[0]}×"
            f"{input_shape[1]}: choose a smaller model (mlp, linear), or larger images"
        )
