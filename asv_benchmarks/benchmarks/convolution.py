"""Convolutions in the shapes of the models: batch×height×width×channels, kernel→filters."""

from __future__ import annotations

import re

import agnostic_dl as adl

from . import common

SHAPES = (
    "32x8x8x64, 3x3→64",  # the last stage of resnet20
    "128x28x28x1, 3x3→32",  # the first layer of lenet
    "128x14x14x32, 3x3→64",  # its second
    "128x32x32x3, 5x5→64",  # the first layer of adam-paper-cnn
    "128x15x15x64, 5x5→64",  # its second
    "128x32x32x16, 3x3→16",  # the first stage of resnet20
)


class Convolution:
    params = (common.BACKENDS, SHAPES)
    param_names = ("backend", "shape")
    timeout = 180

    def setup(self, backend: str, shape: str) -> None:
        self.backend = common.open_backend(backend)
        common.only_small(backend, shape == SHAPES[0])
        n, h, w, c, kh, kw, filters = map(int, re.findall(r"\d+", shape))
        self.x, self.weight, self.cotangent = common.arrays(
            self.backend, (n, h, w, c), (kh, kw, c, filters), (n, h, w, filters)
        )
        _, self.pull_back = adl.vjp(self.convolve, self.x, self.weight)

    def convolve(self, x, weight):
        return adl.nn.functional.conv2d(x, weight, padding=weight.shape[0] // 2)

    def time_forward(self, backend: str, shape: str) -> None:
        self.convolve(self.x, self.weight)
        self.backend.synchronize()

    def time_both_gradients(self, backend: str, shape: str) -> None:
        self.pull_back(self.cotangent)
        self.backend.synchronize()
