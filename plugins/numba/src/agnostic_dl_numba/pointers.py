"""What loops over addresses need and Numba does not have by itself. Imports Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.extending import intrinsic


@intrinsic
def at(context: Any, pointer: Any, offset: Any) -> Any:
    """The address that is *offset* elements behind another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, numba.types.intp), generate


class _Apart(CompilerBase):
    """Compiles with the promise that no two addresses among the arguments overlap.

    Without it a loop over many of them is not vectorised: the compiler would have to compare each
    with each first.
    """

    def define_pipelines(self) -> list[Any]:
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


def apart(function: Callable[..., Any]) -> Any:
    """For calls from compiled code, with addresses of memory that lies apart."""
    return numba.njit(error_model="numpy", pipeline_class=_Apart)(function)
