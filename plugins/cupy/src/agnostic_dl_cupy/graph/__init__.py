"""Recorded programs as CUDA graphs: one launch for a whole training step."""

from agnostic_dl_cupy.graph.device import CudaDevice
from agnostic_dl_cupy.graph.plan import GraphPlan

__all__ = ["CudaDevice", "GraphPlan"]
