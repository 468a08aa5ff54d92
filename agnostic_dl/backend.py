"""What a backend is: an array library, its devices, the way to and from the host, its kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, ClassVar

from agnostic_dl.errors import UnknownNameError, UsageError

DTYPE_NAMES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip


class Backend:
    """Base of every backend: a subclass gives `name`, `xp` and `to_numpy`; the rest has defaults.

    The class itself is the factory that a plugin's hook returns.
    """

    name: ClassVar[str]

    def __init__(self, device: Any = None) -> None:
        self.device = device
        self.kernels: Mapping[str, Callable[..., Any]] = self.own_kernels()
        #: Rules for recorded programs: those of the kernels' plugins, then the backend's own.
        self.rewrites: tuple[Any, ...] = tuple(self.own_rewrites())

    @classmethod
    def probe(cls) -> str | None:
        """None if the backend can run here, else the reason in one line; cheap, imports little."""
        return None

    @cached_property
    def xp(self) -> Any:
        """The library's Array API namespace, by way of array-api-compat."""
        raise NotImplementedError

    @cached_property
    def dtypes(self) -> Mapping[str, Any]:
        """Name → dtype, for every dtype that the library has."""
        return {name: getattr(self.xp, name) for name in DTYPE_NAMES if hasattr(self.xp, name)}

    def as_dtype(self, dtype: Any) -> Any:
        """A dtype of the library by its name; what is no name is taken as it is.

        UnknownNameError: the library has no dtype of that name.
        """
        if not isinstance(dtype, str):
            return dtype
        if dtype not in self.dtypes:
            raise UnknownNameError(
                f"the backend {self.name!r} has no dtype {dtype!r}: expected one of "
                f"{', '.join(self.dtypes)}"
            )
        return self.dtypes[dtype]

    @cached_property
    def array_type(self) -> type:
        """The class of the library's arrays: operations find their kernels by it."""
        return type(self.xp.empty(()))

    def own_kernels(self) -> Mapping[str, Callable[..., Any]]:
        """Primitive name → accelerated function with that primitive's signature."""
        return {}

    def own_rewrites(self) -> Iterable[Any]:
        """Rules that put primitives together where a kernel computes them as one."""
        return ()

    def asarray(self, obj: Any, dtype: Any = None) -> Any:
        """Make an array of this backend from host data, a DLPack exporter or one of its own.

        The dtype that *obj* has is kept unless *dtype* (a name or a dtype of the library) is given.
        """
        dtype = self.as_dtype(dtype)
        if isinstance(obj, self.array_type) or not hasattr(obj, "__dlpack__"):
            return self.xp.asarray(obj, dtype=dtype, device=self.device)
        array = self.xp.from_dlpack(obj)
        return array if dtype is None else self.xp.astype(array, dtype)

    def to_numpy(self, array: Any) -> Any:
        """Copy or view *array* as a NumPy array on the host."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Return when all queued work is done."""

    def activate(self) -> None:
        """Called where it becomes the current backend: libraries with a current device set it."""

    def overflowing(self) -> AbstractContextManager[Any]:
        """A context in which numbers may overflow silently: who opens it looks for them."""
        return nullcontext()

    def compile(self, program: Any, like: Any = None) -> Any:
        """A plan that runs a recorded program many times (see `primitives/program.py`).

        By default the program is interpreted. *like*: a plan of the same model, whose state the
        new one shares.
        """
        return program.interpreted(self, like)

    def pin_threads(self) -> None:
        """From now on give the same bits in each run, on any number of cores: in one thread."""
        raise UsageError(
            f"the backend {self.name!r} cannot be kept to one thread: leave the deterministic mode "
            f"out, and limit its threads as its array library has it"
        )

    def __repr__(self) -> str:
        return f"<backend {self.name!r} device={self.device!r}>"
