"""CUDA kernels written from programs: a chain of elementwise instructions becomes one kernel.

The update of any elementwise optimizer is such a chain, so that nobody who writes an optimizer
writes CUDA.
"""

from agnostic_dl_cupy.codegen.kernel import ChainKernel
from agnostic_dl_cupy.codegen.operations import accepts
from agnostic_dl_cupy.codegen.source import Source, source_of

__all__ = ["ChainKernel", "Source", "accepts", "source_of"]
