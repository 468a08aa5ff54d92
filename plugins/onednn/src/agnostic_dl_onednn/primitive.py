"""A oneDNN primitive with its memories, called with arrays in the layouts of NumPy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ctypes import byref, c_int, c_void_p
from functools import partial
from threading import RLock, local
from typing import Any

import numpy as np

from agnostic_dl_numpy import scratch
from agnostic_dl_onednn import library
from agnostic_dl_onednn.library import ARG, QUERY_MD, Argument, OneDNNError

#: Memories and buffers belong to a primitive, not to a call: one thread at a time.
turn = RLock()
_collected = local()
Call = Callable[[], Any]


class Execution:
    """A primitive of the library with the memories that it computes on, by argument."""

    def __init__(self, description: c_void_p, memories: Mapping[str, c_void_p]) -> None:
        self._primitive = library.Executable()
        library.call("dnnl_primitive_create", byref(self._primitive), description)
        self._memories = dict(memories)
        self.run = self.on({})

    def on(self, others: Mapping[str, c_void_p], kept: Any = None) -> Call:
        """A call that computes on other memories for some arguments; it keeps *kept* alive."""
        memories = {**self._memories, **others}
        arguments = (Argument * len(memories))(
            *(Argument(ARG[name], memory) for name, memory in memories.items())
        )
        primitive, count, stream = self._primitive, c_int(len(memories)), library.stream()

        def run(kept: Any = (memories, kept)) -> None:
            library.call("dnnl_primitive_execute", primitive, stream, count, arguments)
            library.call("dnnl_stream_wait", stream)

        return run


class Reordered:
    """Memory of the library's own layout beside an array's, and the way between them."""

    def __init__(self, inner: Any, outer: c_void_p, into: bool) -> None:
        self.buffer = scratch.aligned(max(library.size_of(inner), 64))
        self.buffer.fill(0)
        self.inner, self.outer = library.memory(inner), library.memory(outer)
        _set(self.inner, self.buffer.ctypes.data)
        source, target = (outer, inner) if into else (inner, outer)
        description = c_void_p()
        library.call("dnnl_reorder_primitive_desc_create", byref(description), source,
                     library.engine(), target, library.engine(), c_void_p(0))  # fmt: skip
        self._side, other = ("src", "dst") if into else ("dst", "src")
        self._way = Execution(description, {self._side: self.outer, other: self.inner})
        self.run = self._way.run

    def on(self, outer: c_void_p) -> Call:
        """The way from or to another memory of the array's layout."""
        return self._way.on({self._side: outer})


class Primitive:
    """One computation with fixed shapes; *layouts*: those of the arrays, by argument.

    Where the library computes in another layout than an array's, it is reordered at each call.
    """

    def __init__(self, description: c_void_p, layouts: Mapping[str, c_void_p]) -> None:
        self.implementation = implementation(description)
        if "ref" in self.implementation:
            raise OneDNNError(f"only a reference implementation: {self.implementation}")
        self._layouts = layouts
        self._memories: dict[str, c_void_p] = {}
        self._before: dict[str, Reordered] = {}
        self._after: dict[str, Reordered] = {}
        used: dict[str, c_void_p] = {}
        for name, layout in layouts.items():
            inner = queried(description, name) if name in QUERY_MD else layout
            into = name not in ("dst", "diff_src", "diff_weights")
            if equal(inner, layout):
                self._memories[name] = used[name] = library.memory(layout)
            else:
                reordered = Reordered(inner, layout, into)
                self._memories[name], used[name] = reordered.outer, reordered.inner
                (self._before if into else self._after)[name] = reordered
        self.reorders = len(self._before) + len(self._after)
        self._execution = Execution(description, used)

    def __call__(self, **arrays: Any) -> None:
        """Compute on arrays in the layouts that were given, by argument."""
        perform(partial(self._compute, arrays), partial(self._bound, arrays))

    def _compute(self, arrays: Mapping[str, Any]) -> None:
        for name, array in arrays.items():
            _set(self._memories[name], address(array))
        before, after = self._before.values(), self._after.values()
        for part in (*before, self._execution, *after):
            part.run()

    def _bound(self, arrays: Mapping[str, Any]) -> list[Call]:
        """Calls on memories of their own for these arrays."""
        own = {name: library.memory(self._layouts[name]) for name in arrays}
        for name, array in arrays.items():
            _set(own[name], address(array))
        direct = {n: m for n, m in own.items() if n not in (*self._before, *self._after)}
        return [
            *(reordered.on(own[name]) for name, reordered in self._before.items()),
            self._execution.on(direct, kept=arrays),
            *(reordered.on(own[name]) for name, reordered in self._after.items()),
        ]


def perform(now: Call, bound: Callable[[], list[Call]]) -> None:
    """Make a call now; within :func:`collecting`, put down the calls that do the same later."""
    calls: list[Call] | None = getattr(_collected, "calls", None)
    if calls is not None:
        calls += bound()
        return
    with turn:
        now()


def room(name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """Memory for the time of a call; within :func:`collecting`, of the calls put down alone."""
    if getattr(_collected, "calls", None) is not None:
        return np.empty(shape, dtype)
    return scratch.take(name, shape, dtype)


@contextmanager
def collecting() -> Iterator[list[Call]]:
    """In this context, and on this thread, nothing is computed: what would be is put down."""
    calls: list[Call] = []
    _collected.calls = calls
    try:
        yield calls
    finally:
        _collected.calls = None


def workspace(description: c_void_p) -> c_void_p:
    """Layout of what a forward pass leaves for the backward one."""
    return queried(description, "workspace")


def takes(*arrays: Any) -> bool:
    """Whether all are float32 arrays that lie in order, none empty."""
    return all(
        type(a) is np.ndarray and a.dtype == np.float32 and a.flags.c_contiguous and a.size > 0
        for a in arrays
    )


def _set(memory: c_void_p, address: int) -> None:
    library.call("dnnl_memory_set_data_handle", memory, c_void_p(address))


def address(array: Any) -> int:
    """Where an array's first element lies."""
    at: int = array.__array_interface__["data"][0]
    return at


def queried(description: c_void_p, name: str) -> c_void_p:
    """The layout of an argument that the library chose."""
    query = library.loaded().dnnl_primitive_desc_query_md
    query.restype = c_void_p
    return c_void_p(query(description, c_int(QUERY_MD[name]), c_int(0)))


def implementation(description: c_void_p) -> str:
    """The name of what computes it."""
    found = ctypes.c_char_p()
    library.call("dnnl_primitive_desc_query", description, c_int(library.QUERY_IMPLEMENTATION),
                 c_int(0), byref(found))  # fmt: skip
    return (found.value or b"").decode()


def direct(description: c_void_p) -> bool:
    """Go on to the direct loops for the same instructions, where the library has such."""
    wanted = f"jit:{implementation(description).rpartition(':')[2]}"
    while implementation(description) != wanted:
        if library.loaded().dnnl_primitive_desc_next_impl(description):
            return False
    return True


def equal(first: c_void_p, second: c_void_p) -> bool:
    return bool(library.loaded().dnnl_memory_desc_equal(first, second))


def nhwc(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides, in the library's order N, C, H, W, of an array (N, H, W, C)."""
    n, h, w, c = shape
    return (n, c, h, w), (h * w * c, 1, w * c, c)


def hwio(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The same, in the order O, I, H, W, of weights (kh, kw, I, O)."""
    kh, kw, i, o = shape
    return (o, i, kh, kw), (1, o, kw * i * o, i * o)
