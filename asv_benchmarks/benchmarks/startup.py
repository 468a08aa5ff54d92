"""From a fresh interpreter to the first result. The interpreter's own start is not counted."""

from __future__ import annotations

from . import common

FIRST_STEP = """
import numpy as np
import agnostic_dl as adl
backend = adl.use_backend("{name}", kernels={kernels}).backend
model = adl.models.create("lenet", input_shape=(28, 28, 1), classes=10)
step = adl.train_step(model, adl.losses.cross_entropy, adl.optimizer("adam"))
x = backend.asarray(np.zeros((128, 28, 28, 1), np.float32))
float(step(x, backend.asarray(np.zeros(128, np.int64))))
backend.synchronize()
"""
HELP = """
import contextlib, io
from agnostic_dl.cli import main
with contextlib.redirect_stdout(io.StringIO()) as said:
    main(["train", "--help"])
assert "Usage" in said.getvalue()
"""


class Import:
    repeat = 10
    number = 1

    def timeraw_core(self) -> str:
        return "import agnostic_dl"

    def timeraw_layers(self) -> str:
        return "from agnostic_dl import nn; nn.Linear"

    def timeraw_command_line(self) -> str:
        return HELP


class FirstStep:
    """A cold start to the end of the first step of lenet, recordings and plan included."""

    params = common.BACKENDS
    param_names = ("backend",)
    repeat = 5
    number = 1
    timeout = 180

    def setup(self, backend: str) -> None:
        common.only_small(backend, False)
        common.open_backend(backend)

    def timeraw_first_step(self, backend: str) -> str:
        name, _, kernels = backend.partition("+")
        return FIRST_STEP.format(name=name, kernels=None if kernels else ())
