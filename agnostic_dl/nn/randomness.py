"""Where the layers' random numbers come from: the training step's stream, or the layer's own.

A draw depends on the seed, the step, the layer's dotted name and how often that layer has drawn in
this step; not on the order of layers, nor on the backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from agnostic_dl import random
from agnostic_dl.primitives.definition import enters

_stream: ContextVar[Stream | None] = ContextVar("agnostic_dl_random_stream", default=None)


def step_key(seed: int, step: int) -> random.Key:
    """The key that all draws of one step are folded from."""
    return random.fold(random.key(seed), "step", step)


class Stream:
    """The draws of one step."""

    def __init__(self, seed: int, step: int) -> None:
        self.key = step_key(seed, step)
        self._arrays: dict[Any, Any] = {}
        self._calls: dict[str, int] = {}

    def draw(self, xp: Any, name: str, device: Any) -> tuple[Any, random.Key]:
        """The step's key as an array, and the words that tell this draw from its others."""
        if xp not in self._arrays:
            self._arrays[xp] = random.key_array(xp, self.key, device=device)
            enters("key", self._arrays[xp])
        call = self._calls.get(name, 0)
        self._calls[name] = call + 1
        return self._arrays[xp], random.fold(random.name_words(name), call)


@contextmanager
def random_stream(seed: int, step: int) -> Iterator[Stream]:
    """In this context layers draw from the stream of *seed* and *step*."""
    stream = Stream(seed, step)
    token = _stream.set(stream)
    try:
        yield stream
    finally:
        _stream.reset(token)


def current_stream() -> Stream | None:
    """The stream of the step that runs now; None outside of any."""
    return _stream.get()
