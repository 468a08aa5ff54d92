"""Reverse-mode differentiation: Tensor, the tape, transforms, and the namespace of Tensors."""

from agnostic_dl.autograd.array_api import namespace, tensor_namespace
from agnostic_dl.autograd.recompute import checkpoint
from agnostic_dl.autograd.tape import is_recording, no_grad
from agnostic_dl.autograd.tensor import Tensor
from agnostic_dl.autograd.transforms import grad, value_and_grad, vjp

__all__ = [
    "Tensor", "checkpoint", "grad", "is_recording", "namespace", "no_grad", "tensor_namespace",
    "value_and_grad", "vjp",
]  # fmt: skip
