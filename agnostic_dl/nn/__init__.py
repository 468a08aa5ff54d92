"""Neural networks: layers, losses, initialisers, models."""

from agnostic_dl.nn import functional, init, losses
from agnostic_dl.nn.layers import (
    GELU,
    AvgPool2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Identity,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Standardize,
    Tanh,
)  # fmt: skip
from agnostic_dl.nn.module import Module
from agnostic_dl.nn.parameter import Buffer, Parameter, UninitializedError
from agnostic_dl.nn.randomness import random_stream
from agnostic_dl.nn.weighted import BatchNorm2d, Conv2d, LayerNorm, Linear

__all__ = [
    "GELU", "AvgPool2d", "BatchNorm2d", "Buffer", "Conv2d", "Dropout", "Flatten", "GlobalAvgPool2d",
    "Identity", "LayerNorm", "LeakyReLU", "Linear", "MaxPool2d", "Module", "Parameter", "ReLU",
    "Sequential", "SiLU", "Sigmoid", "Softmax", "Standardize", "Tanh", "UninitializedError",
    "functional", "init", "losses", "random_stream",
]  # fmt: skip
