"""Mixed precision in the training step: what it computes in, and the scale of its loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from agnostic_dl.autograd import Tensor
from agnostic_dl.backend import Backend
from agnostic_dl.errors import NonFiniteError, UnknownNameError, UsageError
from agnostic_dl.nn.module import Module
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.primitives.dtypes import HALVES, dtype_name
from agnostic_dl.primitives.precision import Casting

#: {"scale": float, "clean": int}: the scale of the next loss, and the steps since it last changed.
ScaleState = dict[str, Any]


@dataclass(frozen=True)
class LossScaling:
    """The loss is multiplied by a scale, so that small gradients do not vanish in float16.

    It doubles after *interval* clean steps; where a gradient is not finite, that step is left out
    and the scale halved. Below *least* it makes no sense: that is float16's smallest normal number,
    so even a gradient of one would lose its digits.

    Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018, section 3.2, with the
    numbers of PyTorch's GradScaler.
    """

    initial: float = 2.0**16
    growth: float = 2.0
    backoff: float = 0.5
    interval: int = 2000
    least: float = 2.0**-14
    most: float = 2.0**127

    def start(self) -> ScaleState:
        """The state before the first step."""
        return {"scale": self.initial, "clean": 0}

    def after_clean(self, state: ScaleState) -> ScaleState:
        """The state after a step whose gradients were finite."""
        scale, clean = state["scale"], state["clean"] + 1
        if clean < self.interval:
            return {"scale": scale, "clean": clean}
        return {"scale": min(scale * self.growth, self.most), "clean": 0}

    def after_overflow(self, state: ScaleState) -> ScaleState:
        """The state after a step that was left out."""
        return {"scale": state["scale"] * self.backoff, "clean": 0}

    def fits(self, state: Any) -> bool:
        """Whether that, which a checkpoint holds, is such a state: its keys and its numbers."""
        if not isinstance(state, dict) or state.keys() != self.start().keys():
            return False
        scale, clean = state["scale"], state["clean"]
        if type(scale) is not float or type(clean) is not int:
            return False
        # By another scale than a power of two, gradients would be rounded when it is taken away.
        power_of_two = math.frexp(scale)[0] == 0.5
        return self.least <= scale <= self.most and power_of_two and clean >= 0


#: Which short dtypes need their loss scaled; bfloat16 reaches as far as float32.
_SCALING = {"float16": LossScaling(), "bfloat16": None}


class Precision:
    """What a step computes in: *name* is a short dtype, or None for the parameters' own."""

    def __init__(self, name: str | None) -> None:
        if name is not None and not isinstance(name, str):
            raise UsageError(
                f"precision: expected None, {' or '.join(map(repr, HALVES))}, as a text, got "
                f"{name!r} ({type(name).__name__})"
            )
        if name is not None and name not in HALVES:
            raise UnknownNameError(
                f"unknown precision {name!r}: expected None (compute in the parameters' dtype), "
                f"{' or '.join(map(repr, HALVES))}"
            )
        self.name = name
        self.scaling = None if name is None else _SCALING[name]

    def require(self, backend: Backend) -> None:
        """Refuse a backend without the dtype."""
        if self.name is not None and self.name not in backend.dtypes:
            floats = ", ".join(n for n in backend.dtypes if "float" in n)
            raise UsageError(
                f"precision={self.name!r}: the backend {backend.name!r} has no such dtype here, "
                f"only {floats}: choose another precision or backend"
            )

    def check(self, backend: Backend, parameters: Mapping[str, Any]) -> None:
        """Refuse a backend without the dtype, and parameters that are no float32."""
        self.require(backend)
        if self.name is None:
            return
        for name, array in parameters.items():
            if dtype_name(array.dtype, backend.xp) != "float32":
                raise UsageError(
                    f"precision={self.name!r} trains float32 parameters, but {name!r} is "
                    f"{array.dtype}: use model.astype('float32'), or precision=None"
                )

    @contextmanager
    def casting(self, backend: Backend, model: Module) -> Iterator[None]:
        """In this context the primitives compute in this precision."""
        self.require(backend)
        assert self.name is not None
        dtypes = backend.dtypes
        masters = {name: p.data for name, p in model.parameters().items()}
        with Casting(dtypes[self.name], dtypes["float32"], masters).watching():
            yield

    @contextmanager
    def explained(self, state: Mapping[str, Any]) -> Iterator[None]:
        """In this context a NonFiniteError says at what scale of the loss it was found."""
        try:
            yield
        except NonFiniteError as error:
            if self.scaling is None:
                raise
            scale = state["scaling"]["scale"]
            raise NonFiniteError(f"{error} (with the loss scaled by {scale:g})") from error

    def widened(self, value: Any) -> Any:
        """A result in float32, for the loss and for those who measure; others as they are."""
        if self.name is None or not isinstance(value, Tensor):
            return value
        if dtype_name(value.dtype) != self.name:
            return value
        return PRIMITIVES["astype"](value, dtype=value.__array_namespace__().float32)

    def widen_buffers(self, model: Module) -> None:
        """What a layer has put into its float32 buffers becomes float32, a short result too."""
        if self.name is None:
            return
        for buffer in model.buffers().values():
            if buffer.dtype_name == "float32" and dtype_name(buffer.data.dtype) == self.name:
                buffer.data = self.widened(Tensor(buffer.data))


Name = TypeVar("Name")


def unscaled(grads: Mapping[Name, Any], scale: Any) -> dict[Name, Any]:
    """Gradients of a scaled loss divided by its 0-d scale: by a power of two, so exactly."""
    p = PRIMITIVES
    inverse = p["divide"](p["ones_like"](scale), scale)
    return {name: p["multiply"](grad, inverse) for name, grad in grads.items()}


def is_finite_loss(loss: Any) -> bool:
    """Whether the loss is a number; waits for it."""
    return math.isfinite(float(loss))
