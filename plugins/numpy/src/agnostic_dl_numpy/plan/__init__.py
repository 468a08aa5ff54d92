"""Plans: a recorded program with its memory laid out and its calls bound, to run many times."""

from agnostic_dl_numpy.plan.compiler import compile_program
from agnostic_dl_numpy.plan.kernel import Call, Kernel
from agnostic_dl_numpy.plan.memory import same_memory
from agnostic_dl_numpy.plan.plan import NumpyPlan

__all__ = ["Call", "Kernel", "NumpyPlan", "compile_program", "same_memory"]
