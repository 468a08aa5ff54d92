"""Numerical health: whether a step is finite and, if it is not, where that began.

The check reads each gradient once: a sum carries NaN and infinity along, and so does the product
of a large array with itself, which is quicker. Only when it fails is the forward pass repeated,
watched layer by layer, to find the first that went bad.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agnostic_dl.autograd import Tensor, no_grad
from agnostic_dl.errors import DataError, NonFiniteError
from agnostic_dl.nn.module import Module
from agnostic_dl.nn.randomness import random_stream
from agnostic_dl.primitives import PRIMITIVES, library_of
from agnostic_dl.primitives.dtypes import isdtype

_ADVICE = (
    "lower the learning rate, clip the gradients (clip_norm), or look for bad values in the data"
)
#: Elements from which a product with itself is quicker than a sum.
_LARGE = 1 << 12


def is_finite(arrays: Iterable[Any]) -> bool:
    """Whether every number of every array is finite."""
    arrays = list(arrays)
    return _probably_finite(arrays) or all(_exactly_finite(array) for array in arrays)


def _probably_finite(arrays: list[Any]) -> bool:
    """False if a number is not finite, and perhaps where a sum of large ones overflows."""
    totals: dict[Any, Any] = {}
    for array in arrays:
        total = carried(array)
        known = totals.get(array.dtype)
        totals[array.dtype] = total if known is None else PRIMITIVES["add"](known, total)
    return all(_is_finite_scalar(total) for total in totals.values())


def carried(array: Any) -> Any:
    """A 0-d array that is not finite if any number of *array* is not."""
    if math.prod(array.shape) < _LARGE or "float" not in str(array.dtype):
        return PRIMITIVES["sum"](array) if array.shape else array
    flat = PRIMITIVES["reshape"](array, shape=(-1,))
    return PRIMITIVES["matmul"](flat, flat)


def all_finite(loss: Any, grads: Iterable[Any]) -> Any:
    """Whether the loss and every gradient are finite: a 0-d bool, perhaps false for huge ones."""
    p = PRIMITIVES
    good = p["isfinite"](loss)
    for grad in grads:
        good = p["logical_and"](good, p["isfinite"](carried(grad)))
    return good


def _is_finite_scalar(value: Any) -> bool:
    number = complex(value)
    return math.isfinite(number.real) and math.isfinite(number.imag)


def _exactly_finite(array: Any) -> bool:
    xp = library_of("health", (array,))[1]
    if not isdtype(xp, array.dtype, ("real floating", "complex floating")):
        return True
    return bool(xp.all(xp.isfinite(array)))


def require_finite(
    model: Module, x: Any, loss: Any, grads: Mapping[str, Any], seed: int, step: int
) -> None:
    """Raise NonFiniteError, with the layer, unless the loss and all gradients are finite."""
    good_loss = math.isfinite(float(loss))
    if good_loss and is_finite(grads.values()):
        return
    bad = [name for name, grad in grads.items() if not _exactly_finite(grad)]
    what = f"the loss became {float(loss)}" if not good_loss else "the gradient became non-finite"
    place = _first_place(model, x, bad if good_loss else [], seed, step)
    raise NonFiniteError(f"{what} in step {step}, first in {place}: {_ADVICE}")


def require_labels(outputs: Any, labels: Any) -> None:
    """Refuse labels that no output stands for: the loss would be wrong, but finite."""
    low, high = (int(PRIMITIVES[name](labels)) for name in ("min", "max"))
    if low < 0 or high >= outputs.shape[-1]:
        raise DataError(
            f"labels from {low} to {high}, but the model has {outputs.shape[-1]} outputs: expected "
            f"labels from 0 to {outputs.shape[-1] - 1}"
        )


def _first_place(model: Module, x: Any, bad: list[str], seed: int, step: int) -> str:
    for name, parameter in model.parameters().items():
        if not _exactly_finite(parameter.data):
            return f"the values of {_of(model, name)}"
    layer = _first_bad_output(model, x, seed, step)
    source = "" if _exactly_finite(x) else f", which was given {_bad_examples(x)}"
    if layer is not None:
        return f"the output of {layer}{source}"
    # Gradients are made from the last layer to the first: the last bad one went bad first.
    return f"the gradient of {_of(model, bad[-1])}{source}" if bad else f"the loss itself{source}"


def _of(model: Module, name: str) -> str:
    """A parameter by its name and its layer's kind."""
    owner = name.rpartition(".")[0]
    kinds = {path: type(module).__name__ for path, module in model.named_modules()}
    return f"{name!r} ({kinds.get(owner, type(model).__name__)})"


def _bad_examples(x: Any) -> str:
    bad = [i for i in range(x.shape[0]) if not _exactly_finite(x[i, ...])]
    return f"bad numbers in example {bad[0]} of the batch" + (
        f" and in {len(bad) - 1} more" if len(bad) > 1 else ""
    )


def _first_bad_output(model: Module, x: Any, seed: int, step: int) -> str | None:
    """The first layer, in the order of computation, whose output is not finite."""
    found: list[str] = []

    def look(name: str, module: Module, output: Any) -> None:
        array = output.data if isinstance(output, Tensor) else output
        if not found and hasattr(array, "dtype") and not _exactly_finite(array):
            found.append(f"{type(module).__name__} {name!r}" if name else type(module).__name__)

    with _watched(model, look), random_stream(seed, step), no_grad():
        model(x)
    return found[0] if found else None


@contextmanager
def _watched(model: Module, look: Callable[[str, Module, Any], None]) -> Iterator[None]:
    """In this context every module tells *look* its name, itself and each of its outputs."""
    modules = list(model.named_modules())
    for name, module in modules:
        vars(module)["forward"] = _telling(name, module, module.forward, look)
    try:
        yield
    finally:
        for _, module in modules:
            del vars(module)["forward"]


def _telling(
    name: str, module: Module, forward: Callable[..., Any],
    look: Callable[[str, Module, Any], None],
) -> Callable[..., Any]:  # fmt: skip
    def watched_forward(*args: Any, **options: Any) -> Any:
        output = forward(*args, **options)
        look(name, module, output)
        return output

    return watched_forward
