"""Mixed precision: which primitives compute in a short dtype, and the casts around them.

Within :meth:`Casting.watching` every primitive that computes on plain arrays is given its arguments
in the dtype that is right for it, forward and backward alike; layers, rules and optimizers know
nothing of it. The casts are primitives themselves, so a recorder notes them. The tape keeps the
arguments as they came, and brings every gradient to its argument's dtype: that of a float32
parameter arrives in float32.

Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018, for products in a short dtype,
sums in float32 and parameters kept in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from agnostic_dl.primitives.casting import astype
from agnostic_dl.primitives.cost import VIEWS
from agnostic_dl.primitives.definition import Primitive, is_scalar, watched_by, watcher
from agnostic_dl.primitives.dtypes import dtype_name

#: Products, which add up in float32 inside: arguments and result are short, whatever real dtype the
#: arguments came in; but a product of integers alone is one of integers.
SHORT = frozenset(
    {"matmul", "linear", "tensordot", "vecdot",
     "conv2d", "conv2d_bias", "conv2d_input_grad", "conv2d_weight_grad"}
)  # fmt: skip
#: Sums, and what grows or shrinks beyond a short dtype: arguments and result are float32.
WIDE = frozenset(
    {"sum", "mean", "var", "std", "prod", "cumulative_sum", "cumulative_prod", "logsumexp",
     "exp", "expm1", "log", "log1p", "log2", "log10", "logaddexp", "pow", "reciprocal", "hypot",
     "sinh", "cosh", "tan", "acos", "asin", "acosh", "asinh", "atanh",
     "softmax", "log_softmax", "softmax_cross_entropy", "softmax_cross_entropy_grad", "layer_norm"}
)  # fmt: skip
#: Whose forward says itself what it makes of arguments of several dtypes, or is told a dtype.
OWN = frozenset(
    {"astype", "zeros_like", "ones_like", "to_device", "copy", "index_set", "dropout_mask",
     "batch_norm", "batch_norm_input_grad", "batch_norm_weight_grad"}
)  # fmt: skip
_FLOATS = ("float", "bfloat")
_WIDE_PARTS = ("linalg.", "fft.")
_AS_THEY_ARE = {"copy": False, "device": None}

Arrays = tuple[Any, ...]


class Casting:
    """The casts of one training step: *short* and *wide* are the library's dtypes.

    *masters*: the parameters' arrays. Each is cast once, and stands for its cast wherever it meets
    a short array. All primitives that are not named above follow their arguments: short where all
    are short, float32 where one is float32.
    """

    def __init__(self, short: Any, wide: Any, masters: Mapping[str, Any]) -> None:
        self.short, self.wide = short, wide
        #: What watches around this: it is told of every primitive, and of every cast.
        self._around = watcher.get()
        self._masters = {id(array): array for array in masters.values()}
        self._casts: dict[int, Any] = {}
        self._views: dict[int, tuple[Primitive, Any, dict[str, Any]]] = {}

    def watching(self) -> AbstractContextManager[None]:
        """In this context every primitive's arguments are cast."""
        return watched_by(self)

    # -- as what watches primitives ---------------------------------------------------------------

    def apply(self, primitive: Primitive, arrays: Arrays, static: dict[str, Any]) -> Any:
        """Compute on the arrays, each in the dtype that is right for the primitive."""
        name = primitive.name
        if name in SHORT:
            return self._short(self._run(primitive, self._factors(arrays), static))
        if name in WIDE or name.startswith(_WIDE_PARTS):
            return self._run(primitive, self._all(self._widened, arrays), static)
        if name in OWN:
            return self._run(primitive, arrays, static)
        arrays, all_short = self._alike(arrays)
        out = self._run(primitive, arrays, static)
        if name in VIEWS and len(arrays) == 1 and id(arrays[0]) in self._masters:
            self._note_view(primitive, arrays[0], static, out)
        return self._short(out) if all_short and not primitive.casts else out

    def escape(self, reason: str) -> None:
        """Pass on why a recording cannot stand for the step."""
        if self._around is not None:
            self._around.escape(reason)

    def input(self, name: str, array: Any) -> None:
        """Pass on what an array is called."""
        if self._around is not None:
            self._around.input(name, array)

    def _run(self, primitive: Primitive, arrays: Arrays, static: dict[str, Any]) -> Any:
        if self._around is not None:
            return self._around.apply(primitive, arrays, static)
        token = watcher.set(None)  # what the forward itself is made of computes as it is given
        try:
            return primitive.compute(arrays, static)
        finally:
            watcher.reset(token)

    # -- casts ------------------------------------------------------------------------------------

    def _all(self, cast: Callable[[Any], Any], arrays: Arrays) -> Arrays:
        return tuple(array if is_scalar(array) else cast(array) for array in arrays)

    def _cast(self, array: Any, dtype: Any) -> Any:
        return self._run(astype, (array,), {"dtype": dtype, **_AS_THEY_ARE})

    def _factors(self, arrays: Arrays) -> Arrays:
        """The arguments of a product, short; those of a product of integers as they are."""
        names = [dtype_name(a.dtype) for a in arrays if not is_scalar(a)]
        if not any(name.startswith(_FLOATS) for name in names):
            return arrays
        return self._all(self._factor, arrays)

    def _factor(self, array: Any) -> Any:
        if array.dtype in (self.short, self.wide):
            return self._narrowed(array)
        real = dtype_name(array.dtype).startswith((*_FLOATS, "int", "uint"))
        return self._cast(array, self.short) if real else array

    def _widened(self, array: Any) -> Any:
        return self._cast(array, self.wide) if array.dtype == self.short else array

    def _narrowed(self, array: Any) -> Any:
        """The array in the short dtype; of a view of a parameter, that view of the short one."""
        if array.dtype != self.wide:
            return array
        key = id(array)
        if key not in self._masters:
            return self._cast(array, self.short)
        if key not in self._casts:
            self._casts[key] = self._narrowed_master(array)
        return self._casts[key]

    def _narrowed_master(self, array: Any) -> Any:
        if id(array) not in self._views:
            return self._cast(array, self.short)
        primitive, source, static = self._views[id(array)]
        return self._run(primitive, (self._narrowed(source),), static)

    def _note_view(self, primitive: Primitive, source: Any, static: Any, out: Any) -> None:
        """A view of a parameter is one as well: what it looks at is cast, once."""
        if out is not source:
            self._masters[id(out)] = out
            self._views[id(out)] = primitive, source, static

    def _short(self, out: Any) -> Any:
        """A result in the short dtype, also where the library made float32 of short arrays."""
        if isinstance(out, tuple) or out.dtype != self.wide:
            return out
        return self._cast(out, self.short)

    def _alike(self, arrays: Arrays) -> tuple[Arrays, bool]:
        """Arrays of one floating-point dtype, and whether that is the short one."""
        given = [a for a in arrays if not is_scalar(a) and id(a) not in self._masters]
        if not any(a.dtype == self.short for a in given):
            return arrays, False
        if any(a.dtype == self.wide for a in given):
            return self._all(self._widened, arrays), False
        return self._all(self._narrowed, arrays), True
