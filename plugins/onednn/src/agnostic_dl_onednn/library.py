"""Finding libdnnl, and the functions of its C API that are used here."""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from agnostic_dl_numpy.threads import thread_count

MAJOR, OPENMP = 3, 2
#: For how many shapes the primitives of one kind are kept; plans keep theirs as long as they live.
SHAPES = 256
_NAMES = ("libdnnl.so.3", "libdnnl.3.dylib", "dnnl.dll")

# Codes of the C API's enumerations (dnnl_types.h, version 3).
F32, U8, ANY_TAG, CPU, IN_ORDER = 3, 6, 1, 1, 1
FORWARD_TRAINING, BACKWARD = 64, 128
CONVOLUTION_DIRECT, RELU, POOLING_MAX = 1, 0x20, 0x1FF
SCALE, SHIFT, FUSE_RELU = 0x2, 0x4, 0x8  # flags of a normalisation
QUERY_IMPLEMENTATION = 8
QUERY_MD = {"src": 129, "diff_src": 130, "weights": 131, "diff_weights": 132, "dst": 133,
            "diff_dst": 134, "workspace": 135}  # fmt: skip
ARG = {"src": 1, "dst": 17, "weights": 33, "bias": 41, "mean": 49, "variance": 50, "scale": 51,
       "shift": 52, "diff_scale": 255, "diff_shift": 256, "workspace": 64, "diff_src": 129,
       "diff_dst": 145, "diff_weights": 161, "diff_bias": 169}  # fmt: skip


class _Version(ctypes.Structure):
    _fields_ = (
        ("major", c_int), ("minor", c_int), ("patch", c_int), ("hash", c_char_p),
        ("cpu_runtime", ctypes.c_uint), ("gpu_runtime", ctypes.c_uint),
    )  # fmt: skip


class Argument(ctypes.Structure):
    """One argument of an execution: what it is, and its memory."""

    _fields_ = (("arg", c_int), ("memory", c_void_p))


class OneDNNError(RuntimeError):
    """A call of the library failed: what was asked for is not to be had."""


def _candidates() -> list[str]:
    """Where the library may lie: as told, in this environment (the wheel), in the system."""
    told = os.environ.get("AGNOSTIC_DL_ONEDNN")
    if told:
        return [told]
    beside = [str(Path(sys.prefix) / "lib" / name) for name in _NAMES]
    return [p for p in beside if Path(p).exists()] + [*_NAMES[:1]]


@cache
def _load() -> tuple[Any, str | None]:
    """The library, or why there is none."""
    # Its threads would spin for a while after each call, and take the cores from NumPy's.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    failures = []
    for path in _candidates():
        try:
            found = ctypes.CDLL(path)
            found.dnnl_version.restype = POINTER(_Version)
            version = found.dnnl_version().contents
        except (OSError, AttributeError) as error:
            failures.append(f"{path}: {error}" if Path(path).exists() else path)
            continue
        unfit = _unfit(version, path)
        return (None, unfit) if unfit else (found, None)
    return None, (
        f"no oneDNN library was found (tried {', '.join(failures)}): pip install onednn-cpu-gomp, "
        f"or set AGNOSTIC_DL_ONEDNN to the path of libdnnl.so.3"
    )


def _unfit(version: _Version, path: str) -> str | None:
    """Why a library that loads cannot be used; None: it can."""
    if version.major != MAJOR:
        return f"oneDNN {MAJOR}.x expected, {path} is {version.major}.{version.minor}"
    if version.cpu_runtime != OPENMP:
        return (
            f"oneDNN on OpenMP expected (its CPU runtime {OPENMP}), {path} was built for runtime "
            f"{version.cpu_runtime}: pip install onednn-cpu-gomp"
        )
    return None


def loaded() -> Any:
    """The library; only where there is no :func:`reason` against it."""
    return _load()[0]


def reason() -> str | None:
    """Why oneDNN cannot be used here, in one line; None if it can."""
    return _load()[1]


def version() -> str:
    """The version of the library that is used."""
    found = loaded().dnnl_version().contents
    return f"{found.major}.{found.minor}.{found.patch}"


def threads() -> int:
    """How many threads the library takes from now on: as many as the NumPy backend does.

    A primitive shares its work out when it is made: one for another number is another primitive.
    """
    count = thread_count()
    loaded().omp_set_num_threads(c_int(count))
    return count


def call(name: str, *arguments: Any) -> None:
    """Call a function of the library; OneDNNError if it says that it failed."""
    status = getattr(loaded(), name)(*arguments)
    if status:
        raise OneDNNError(f"{name}: status {status}")


@cache
def engine() -> c_void_p:
    """The engine of the CPU."""
    found = c_void_p()
    call("dnnl_engine_create", byref(found), c_int(CPU), ctypes.c_size_t(0))
    return found


@cache
def stream() -> c_void_p:
    """The one stream: calls are made in order, and have ended when they return."""
    found = c_void_p()
    call("dnnl_stream_create", byref(found), engine(), c_int(IN_ORDER))
    return found


def dims(values: Any) -> Any:
    """Numbers as the library's array of lengths."""
    return (c_int64 * 12)(*values)


def description(
    shape: tuple[int, ...], strides: tuple[int, ...] | None, kind: int = F32
) -> c_void_p:
    """An array of this shape with strides in elements; None: in any layout."""
    found = c_void_p()
    rank = c_int(len(shape))
    if strides is None:
        call("dnnl_memory_desc_create_with_tag", byref(found), rank, dims(shape), c_int(kind),
             c_int(ANY_TAG))  # fmt: skip
    else:
        call("dnnl_memory_desc_create_with_strides", byref(found), rank, dims(shape), c_int(kind),
             dims(strides))  # fmt: skip
    return found


def size_of(layout: Any) -> int:
    """Bytes of an array of that layout."""
    function = loaded().dnnl_memory_desc_get_size
    function.restype = ctypes.c_size_t
    return int(function(layout))


class Owned(c_void_p):
    """An object of the library that ends with its last reference; *destroy*: by which function."""

    destroy = ""

    def __del__(self) -> None:
        if self.value and loaded is not None:  # None: Python ends
            getattr(loaded(), self.destroy)(self)


class Memory(Owned):
    """Where an array lies, and how."""

    destroy = "dnnl_memory_destroy"


class Executable(Owned):
    """A computation that can be made."""

    destroy = "dnnl_primitive_destroy"


def memory(layout: Any) -> Memory:
    """A memory of that layout, without an address yet."""
    found = Memory()
    call("dnnl_memory_create", byref(found), layout, engine(), c_void_p(0))
    return found
