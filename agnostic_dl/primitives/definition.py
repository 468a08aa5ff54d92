"""What a primitive is: a function of arrays, its rules of differentiation, and its one entrance.

Everything that computes goes through :meth:`Primitive.__call__`. Arrays of a library are computed
with at once, by the backend's kernel of that name or else by the reference forward; traced values
(:class:`Traced`) are handed to their tracer, which the floors above define.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from agnostic_dl import backends
from agnostic_dl.errors import AgnosticDLError, ArrayMixError, DTypeError, UsageError
from agnostic_dl.primitives.unread import Unread

Rule = Callable[..., Any]

_PYTHON_SCALARS = (bool, int, float, complex, type(None))  # None: an array left out


#: What notes every primitive that computes in this context; see `primitives/recorder.py`.
watcher: ContextVar[Any] = ContextVar("agnostic_dl_recorder", default=None)
_watching = watcher.get


@contextmanager
def watched_by(what: Any) -> Iterator[None]:
    """In this context *what* is handed every primitive that computes."""
    token = watcher.set(what)
    try:
        yield
    finally:
        watcher.reset(token)


def escape(reason: str) -> None:
    """Tell the recorder, if there is one, that the step does what a program cannot follow."""
    recorder = _watching()
    if recorder is not None:
        recorder.escape(reason)


def enters(name: str, array: Any) -> None:
    """Tell the recorder, if there is one, that the array is the step's input of that name."""
    recorder = _watching()
    if recorder is not None:
        recorder.input(name, array)


def is_scalar(value: Any) -> bool:
    """Whether an operand is a Python number, or None for an array left out."""
    return isinstance(value, _PYTHON_SCALARS) and not hasattr(value, "dtype")


class Traced:
    """Base of values that stand for an array while something watches, such as a Tensor."""

    __slots__ = ()

    def trace(self, primitive: Primitive, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """Apply *primitive*, watching; called on the first traced argument."""
        raise NotImplementedError


def zero(*_: Any, **__: Any) -> Any:
    """Rule of an argument whose derivative is zero almost everywhere: cuts the graph."""
    raise AssertionError("the tape never calls this rule")


class Primitive:
    """A named, differentiable function ``forward(xp, *arrays, **static)``; see :func:`primitive`.

    Positional arguments beyond the arrays are taken as the static ones, in their order, as the
    standard's own functions allow. *variadic*: takes any number of arrays, also as one sequence.
    """

    def __init__(
        self, forward: Callable[..., Any], *, differentiable: bool = True, name: str | None = None
    ) -> None:
        self.forward = forward
        self.name = self.__name__ = name or forward.__name__
        self.__doc__ = forward.__doc__
        self.differentiable = differentiable
        parameters = list(inspect.signature(forward).parameters.values())[1:]
        statics = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        arrays = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.static_names = [p.name for p in statics]
        self.array_names = [p.name for p in arrays]
        self.optional = {p.name for p in arrays if p.default is not p.empty}
        self.defaults = {p.name: p.default for p in statics if p.default is not p.empty}
        #: How many positional arguments make a plain call; None: they are always looked through.
        self.arity = None if self.variadic else len(arrays)
        #: Whether the result's dtype may be one that has no gradient, though the argument's has.
        self.casts = "dtype" in self.static_names
        self.rules: tuple[Rule | None, ...] = ()
        self.joint_rule: Rule | None = None
        self.formula: Callable[..., Any] | None = None
        #: What the rules read the values of, None: everything; see :meth:`defvjp`.
        self.keeps: frozenset[str | int] | None = None
        self.reads_out = True
        #: Places of the arguments whose values no rule reads; None: of all, however many.
        self.unread: tuple[int, ...] | None = ()

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    # -- rules ------------------------------------------------------------------------------

    def defvjp(self, *rules: Rule | None, keeps: Iterable[str | int] | None = None) -> None:
        """Give one rule for each array argument: ``rule(xp, g, out, *arrays, **static)``.

        A rule returns the gradient of its argument given *g*, the gradient of the output *out*;
        its `xp` is the namespace of primitives, so that it can be recorded and differentiated in
        turn. :data:`zero`: the derivative vanishes almost everywhere. None: there is no rule, and
        differentiating through the argument is an error.

        Complex numbers need nothing special in the rule of a holomorphic function: *g* is the
        plain derivative ∂L/∂out, and the tape conjugates once where gradients leave it.
        *keeps*: names of the arguments, and "out" (or numbers of outputs), whose values
        the rules read; None: all. Of another argument they find shape and dtype alone, of another
        output nothing (see `unread.py`), and the memory is free before the way back.
        """
        self.rules = rules
        self._keep(keeps)

    def defvjp_variadic(self, rule: Rule, keeps: Iterable[str | int] | None = None) -> None:
        """Give one rule for all arguments at once, which returns a sequence of gradients.

        *keeps*: as for :meth:`defvjp`; a variadic primitive's arrays are all kept, or none.
        """
        self.joint_rule = rule
        self._keep(keeps)

    def _keep(self, keeps: Iterable[str | int] | None) -> None:
        self.keeps = None if keeps is None else frozenset(keeps)
        known = frozenset([*self.array_names, "out"])
        named = known if self.keeps is None else self.keeps
        unknown = [name for name in named - known if isinstance(name, str)]
        if unknown:
            raise UsageError(f"keeps: {self.name} has {sorted(known)}, not {sorted(unknown)}")
        self.reads_out = "out" in named or 0 in named
        unread = tuple(i for i, name in enumerate(self.array_names) if name not in named)
        self.unread = None if self.variadic and self.keeps is not None else unread

    def defvjp_composed(self, formula: Callable[..., Any] | None = None) -> None:
        """Differentiate a *formula* of the forward's signature, or the forward, in primitives."""
        self.formula = formula or self.forward
        self._keep(None)

    # -- calling ----------------------------------------------------------------------------

    def __call__(self, *args: Any, **static: Any) -> Any:
        """Apply to arrays, or hand over to the tracer of the first traced argument."""
        if len(args) != self.arity:
            args = self._split(args, static)
        if self.defaults:
            static = {**self.defaults, **static}
        for arg in args:
            if isinstance(arg, Traced):
                return arg.trace(self, args, static)
        return self.run(args, static)

    def _split(self, args: tuple[Any, ...], static: dict[str, Any]) -> tuple[Any, ...]:
        """Separate the arrays from static arguments given by position (into *static*)."""
        if self.variadic:
            if args and isinstance(args[0], (list, tuple)):
                static.update(zip(self.static_names, args[1:], strict=False))
                return tuple(args[0])
            return args
        arity = len(self.array_names)
        static.update(zip(self.static_names, args[arity:], strict=False))
        named = [
            static.pop(name, None)
            for name in self.array_names[len(args) :]
            if name in static or name in self.optional
        ]
        arrays = (*args[:arity], *named)
        if len(arrays) != arity or len(args) > arity + len(self.static_names):
            raise UsageError(
                f"{self.name} expects the arrays {', '.join(self.array_names)}, got {len(args)} "
                f"positional arguments"
            )
        return arrays

    def run(self, arrays: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """Compute on arrays of one library, under the eyes of the recorder if there is one."""
        recorder = _watching()
        if recorder is not None:
            return recorder.apply(self, arrays, static)
        return self.compute(arrays, static)

    def compute(self, arrays: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """Compute on arrays: by the kernel of this name, else by the forward."""
        array_type, xp = library_of(self.name, arrays)
        kernel = backends.kernels_for(array_type).get(self.name)
        try:
            if kernel is not None:
                out = kernel(xp, *arrays, **static)
                if out is not NotImplemented:  # a kernel may decline dtypes and shapes
                    return out
            return self.forward(xp, *arrays, **static)
        except Exception as error:
            raise_if_devices_differ(self.name, arrays, error)
            raise


_LIBRARIES: dict[type, tuple[type, Any]] = {}


def library_of(name: str, arrays: tuple[Any, ...]) -> tuple[type, Any]:
    """Class and namespace of the one library that all *arrays* are of; Python scalars aside."""
    found: tuple[type, Any] | None = None
    kind: type | None = None
    for array in arrays:
        if type(array) is kind:
            continue
        kind = type(array)
        library = _LIBRARIES.get(kind)
        if library is None:
            if is_scalar(array):
                continue
            library = _register(name, array)
        if found is None:
            found = library
        elif library[1] is not found[1]:
            raise ArrayMixError(
                f"{name}: arrays of one library expected, got {_library_name(found[1])} and "
                f"{_library_name(library[1])}: convert one with get_backend(...).asarray(...)"
            )
    if found is None:
        got = ", ".join(type(array).__name__ for array in arrays) or "nothing"
        raise DTypeError(f"{name} expects at least one array, got {got}")
    return found


def raise_if_devices_differ(name: str, arrays: tuple[Any, ...], error: Exception) -> None:
    """Say so, where an operation failed because its arrays lie on two devices."""
    from array_api_compat import device

    if isinstance(error, AgnosticDLError):
        return
    devices = {str(device(array)) for array in arrays if hasattr(array, "dtype")}
    if len(devices) > 1:
        raise ArrayMixError(
            f"{name}: arrays on one device expected, got {' and '.join(sorted(devices))}: move one "
            f"with .to_device(...)"
        ) from error


def _library_name(xp: Any) -> str:
    return str(xp.__name__).replace("array_api_compat.", "")


def _register(name: str, array: Any) -> tuple[type, Any]:
    """Find the library of an array's class once (microseconds) and keep it."""
    from array_api_compat import array_namespace

    if isinstance(array, Unread):
        raise UsageError(
            f"{name}: a rule reads the values of an array that was not kept for it: name the "
            f"argument, or 'out', in keeps=[...] of its defvjp"
        )
    try:
        xp = array_namespace(array)
    except TypeError as error:
        raise DTypeError(
            f"{name} expects arrays of an Array API library or Tensors, got "
            f"{type(array).__name__}: make an array with get_backend().asarray(...)"
        ) from error
    # Not type(array): a library's scalars and subclasses compute with the kernels of its arrays.
    _LIBRARIES[type(array)] = (type(xp.empty(())), xp)
    return _LIBRARIES[type(array)]


def primitive(
    forward: Callable[..., Any] | None = None,
    *,
    differentiable: bool = True,
    name: str | None = None,
) -> Any:
    """Make a primitive of ``forward(xp, *arrays, **static)``, pure and in standard operations.

    Give its rules right beneath it with `defvjp`. *differentiable=False*: the results are plain
    and cut the graph (comparisons, integers). *name*: by default the forward's own.

    >>> @primitive
    ... def double(xp, x):
    ...     return xp.add(x, x)
    >>> double.defvjp(lambda xp, g, out, x: xp.add(g, g))
    """
    if forward is None:
        return lambda function: primitive(function, differentiable=differentiable, name=name)
    return Primitive(forward, differentiable=differentiable, name=name)
