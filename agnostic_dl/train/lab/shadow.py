"""Shadow optimizers: what others would have done, step by step, with the same gradients.

Each keeps a state of its own, fed with the real run's gradients and weights at every step; it never
changes anything. Where the optimizer treats every element alike, the shadow follows a sample of
each parameter's elements, all of them in one vector, which costs next to nothing and is exact for
those elements. Others (`elementwise = False`) need, and get, whole arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from array_api_compat import device

from agnostic_dl import optim
from agnostic_dl.errors import UsageError
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.optim.update import init_state, learning_rate_at, scalars_for
from agnostic_dl.primitives import library_of
from agnostic_dl.train.lab import measures

USUAL = ("sgd", "momentum", "adagrad", "adam")

Arrays = Mapping[str, Any]


def chosen(shadows: Any, real: Optimizer) -> dict[str, Optimizer]:
    """The shadows by label: of names, a mapping to optimizers, or None, the usual four.

    Of the usual ones the real optimizer itself is left out, and what is not installed.
    """
    if shadows is None:
        installed = optim.list_optimizers()
        made = {name: optim.optimizer(name) for name in USUAL if name in installed}
        return {name: other for name, other in made.items() if type(other) is not type(real)}
    if isinstance(shadows, Mapping):
        return {str(label): _made(other) for label, other in shadows.items()}
    if isinstance(shadows, str) or not isinstance(shadows, Iterable):
        raise UsageError(f"shadows: expected names of optimizers, got {shadows!r}")
    return {str(name): _made(name) for name in shadows}


def _made(other: Any) -> Optimizer:
    if isinstance(other, dict):
        return optim.optimizer(**other)
    return optim.optimizer(other) if isinstance(other, str) else other


class Shadow:
    """One optimizer that follows a run."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.states: dict[str, Any] = {}

    def step(self, params: Arrays, grads: Arrays, step: int) -> dict[str, Any]:
        """The updates that it would make to these arrays by name; its state moves on."""
        rate = learning_rate_at(self.optimizer, step)
        scalars = scalars_for(self.optimizer, rate, step)
        updates = {}
        for name, grad in grads.items():
            param, update = params[name], self.optimizer.update
            if name not in self.states:
                self.states[name] = init_state(self.optimizer, param)
            xp = library_of("shadow", (param,))[1]
            numbers = {
                n: xp.asarray(v, dtype=param.dtype, device=device(param))
                for n, v in scalars.items()
            }
            # On the library's own arrays, past the primitives: nothing here is recorded or
            # differentiated, and small vectors cost their overhead alone.
            new, self.states[name] = update(xp, param, grad, self.states[name], **numbers)
            updates[name] = new - param
        return updates


class Shadows:
    """All shadows of a run."""

    def __init__(self, optimizers: Mapping[str, Optimizer]) -> None:
        self.optimizers = dict(optimizers)
        self.flat = {n: Shadow(o) for n, o in optimizers.items() if type(o).elementwise}
        self.full = {n: Shadow(o) for n, o in optimizers.items() if not type(o).elementwise}

    def follow(
        self, samples: Samples, before: Arrays, after: Arrays, grads: Arrays, step: int, look: bool
    ) -> dict[str, dict[str, Any]]:
        """Let every shadow make its step; with *look*, products with the real update by parameter.

        *samples*: weights and gradients of the sampled elements; the other arrays are whole.
        """
        found: dict[str, dict[str, Any]] = {}
        for label, shadow in self.flat.items():
            update = shadow.step({"": samples.before}, {"": samples.grads}, step)[""]
            if look:
                real = samples.after - samples.before
                for name, place in samples.places.items():
                    parts = measures.products(
                        samples.xp, update[place], real[place], samples.weights[name]
                    )
                    found.setdefault(name, {}).update(_named(label, parts))
        for label, shadow in self.full.items():
            updates = shadow.step(before, grads, step)
            for name, update in updates.items() if look else ():
                xp = samples.xp
                real = xp.reshape(after[name] - before[name], (-1,))
                parts = measures.products(xp, xp.reshape(update, (-1,)), real)
                found.setdefault(name, {}).update(_named(label, parts))
        return found


class Samples:
    """The sampled elements of all parameters, one after the other in one vector each."""

    def __init__(
        self, xp: Any, before: Arrays, after: Arrays, grads: Arrays, elements: int | None
    ) -> None:
        self.xp = xp
        self.names = list(grads)
        self.elements = elements
        self.before = self.gather(before)
        self._after = after
        self.grads = self.gather(grads)
        #: Where a parameter's elements stand, and for how many of its own each of them stands.
        self.places: dict[str, slice] = {}
        self.weights: dict[str, float] = {}
        start = 0
        for name in self.names:
            size = math.prod(grads[name].shape)
            stride = 1 if elements is None else max(-(-size // elements), 1)
            count = -(-size // stride)
            self.places[name] = slice(start, start + count)
            self.weights[name] = size / count
            start += count

    @cached_property
    def after(self) -> Any:
        """The weights after the step; only a look asks for them."""
        return self.gather(self._after)

    def gather(self, arrays: Arrays) -> Any:
        """The sampled elements of these arrays, (n,)."""
        parts = [measures.sampled(self.xp, arrays[n], self.elements) for n in self.names]
        return parts[0] if len(parts) == 1 else self.xp.concat(parts)


def _named(label: str, parts: tuple[Any, Any, Any]) -> dict[str, Any]:
    product, theirs, ours = parts
    return {
        f"shadow/{label}/product": product,
        f"shadow/{label}/theirs": theirs,
        f"shadow/{label}/ours": ours,
    }


def compared(raw: dict[str, float], labels: Iterable[str]) -> dict[str, float]:
    """Cosine of each shadow's update with the real one, and its size as a multiple of that."""
    found = {}
    for label in labels:
        names = [f"shadow/{label}/{part}" for part in ("product", "theirs", "ours")]
        if not all(name in raw for name in names):
            continue
        product, theirs, ours = (raw.pop(name) for name in names)
        if theirs > 0 and ours > 0:
            found[f"shadow_{label}_cosine"] = product / math.sqrt(theirs * ours)
            found[f"shadow_{label}_size"] = math.sqrt(theirs / ours)
    return found
