"""The table of the kernels; convolution with bias and ReLU, and its two adjoints."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import byref, c_float, c_int, c_void_p
from functools import cache, lru_cache
from typing import Any

import numpy as np

from agnostic_dl_numpy import scratch
from agnostic_dl_onednn import library, normalization, pooling, products
from agnostic_dl_onednn.bound import Bound, Paired
from agnostic_dl_onednn.library import CONVOLUTION_DIRECT, FORWARD_TRAINING, OneDNNError
from agnostic_dl_onednn.primitive import Primitive, direct, hwio, implementation, nhwc, takes

Pair = tuple[int, int]
Borders = tuple[Pair, Pair]
Shape = tuple[int, ...]

#: Multiplications below which a call costs more than it saves.
_WORTHWHILE = 1 << 20


def conv2d(
    xp: Any, x: Any, weight: Any, *, stride: Pair, padding: Borders, dilation: Pair, groups: int
) -> Any:
    """As the primitive: x (N, H, W, C), weight (kh, kw, C, O) → (N, H', W', O)."""
    return _forward(x, weight, None, False, (stride, padding, dilation), groups)


def conv2d_bias(
    xp: Any, x: Any, weight: Any, bias: Any, *, relu: bool = False, stride: Pair, padding: Borders,
    dilation: Pair, groups: int,
) -> Any:  # fmt: skip
    """As the primitive, bias and ReLU in the convolution's own pass."""
    if not takes(bias):
        return NotImplemented
    return _forward(x, weight, bias, relu, (stride, padding, dilation), groups)


def _forward(x: Any, weight: Any, bias: Any, relu: bool, geometry: Any, groups: int) -> Any:
    if groups != 1 or not takes(x, weight):
        return NotImplemented
    made = convolution(
        "forward", x.shape, weight.shape, bias is not None, relu, *geometry, library.threads()
    )
    if made is None:
        return NotImplemented
    primitive, shape = made
    out = scratch.result(shape, x.dtype)
    biases = {} if bias is None else {"bias": bias}
    primitive(src=x, weights=weight, **biases, dst=out)
    return out


def conv2d_input_grad(
    xp: Any, g: Any, weight: Any, *, size: Pair, stride: Pair, padding: Borders, dilation: Pair,
    groups: int,
) -> Any:  # fmt: skip
    """As the primitive: g (N, H', W', O) → (N, H, W, C) with *size* = (H, W)."""
    if groups != 1 or not takes(g, weight):
        return NotImplemented
    shape = (g.shape[0], *size, weight.shape[2])
    made = convolution("data", shape, weight.shape, False, False, stride, padding, dilation,
                        library.threads())  # fmt: skip
    if made is None or made[1] != g.shape:
        return NotImplemented
    dx = scratch.result(shape, g.dtype)
    made[0](diff_dst=g, weights=weight, diff_src=dx)
    return dx


def conv2d_weight_grad(
    xp: Any, x: Any, g: Any, *, kernel: Pair, stride: Pair, padding: Borders, dilation: Pair,
    groups: int,
) -> Any:  # fmt: skip
    """As the primitive: x (N, H, W, C), g (N, H', W', O) → (kh, kw, C, O)."""
    found = _weight_grad(x, g, False, kernel, (stride, padding, dilation), groups)
    return found if found is NotImplemented else found[0]


def conv2d_weight_bias_grad(
    xp: Any, x: Any, g: Any, *, kernel: Pair, stride: Pair, padding: Borders, dilation: Pair,
    groups: int,
) -> Any:  # fmt: skip
    """As the primitive: the gradients in the weight and, from the same pass, in the bias (O,)."""
    return _weight_grad(x, g, True, kernel, (stride, padding, dilation), groups)


def _weight_grad(x: Any, g: Any, bias: bool, kernel: Pair, geometry: Any, groups: int) -> Any:
    if groups != 1 or not takes(x, g):
        return NotImplemented
    shape = (*kernel, x.shape[3], g.shape[3])
    made = convolution("weights", x.shape, shape, bias, False, *geometry, library.threads())
    if made is None or made[1] != g.shape:
        return NotImplemented
    dw = scratch.result(shape, x.dtype)
    biases = {"diff_bias": scratch.result(shape[3:], x.dtype)} if bias else {}
    made[0](src=x, diff_dst=g, diff_weights=dw, **biases)
    return dw, *biases.values()


@lru_cache(library.SHAPES)
def convolution(
    kind: str, x: Shape, weight: Shape, bias: bool, relu: bool, stride: Pair, padding: Borders,
    dilation: Pair, threads: int,
) -> tuple[Primitive, Shape] | None:  # fmt: skip
    """The primitive and the output's shape; None where the library has nothing good for it."""
    size = tuple(
        (x[1 + a] + sum(padding[a]) - dilation[a] * (weight[a] - 1) - 1) // stride[a] + 1
        for a in (0, 1)
    )
    out = (x[0], *size, weight[3])
    if min(size) < 1 or min(min(p) for p in padding) < 0:
        return None
    if int(np.prod(out)) * int(np.prod(weight[:3])) < _WORTHWHILE:
        return None
    problem = Convolution(x, weight, out, bias, relu, stride, padding, dilation)
    # Images as they are; else their inner layout chosen by the library, and reordered.
    for chosen in ((), ("src",), ("src", "dst")):
        try:
            return problem.primitive(kind, chosen), out
        except OneDNNError:
            continue
    return None


class Convolution:
    """Shapes and geometry of a convolution, in the library's terms."""

    def __init__(
        self, x: Shape, weight: Shape, out: Shape, bias: bool, relu: bool, stride: Pair,
        padding: Borders, dilation: Pair,
    ) -> None:  # fmt: skip
        self.plain = {
            "src": nhwc(x), "weights": hwio(weight), "dst": nhwc(out), "bias": ((weight[3],), (1,))
        }  # fmt: skip
        self.bias, self.relu, self.strided = bias, relu, max(stride) > 1
        begins, ends = zip(*padding, strict=True)
        spread = [d - 1 for d in dilation]
        self.geometry = [library.dims(v) for v in (stride, spread, begins, ends)]

    def _layouts(self, chosen: tuple[str, ...]) -> dict[str, c_void_p]:
        """Descriptions for the library; *chosen* by it, as the weights always are."""
        return {
            name: library.description(shape, None if name in (*chosen, "weights") else strides)
            for name, (shape, strides) in self.plain.items()
        }

    def _description(self, function: str, *arguments: Any) -> c_void_p:
        found = c_void_p()
        library.call(
            f"dnnl_convolution_{function}_primitive_desc_create", byref(found), library.engine(),
            *arguments,
        )  # fmt: skip
        return found

    def _forward(self, layouts: dict[str, c_void_p]) -> c_void_p:
        bias = layouts["bias"] if self.bias else c_void_p(0)
        return self._description(
            "forward", c_int(FORWARD_TRAINING), c_int(CONVOLUTION_DIRECT), layouts["src"],
            layouts["weights"], bias, layouts["dst"], *self.geometry,
            _relu_after() if self.relu else c_void_p(0),
        )  # fmt: skip

    def description(self, kind: str, chosen: tuple[str, ...]) -> c_void_p:
        """Of the computation *kind*, "forward", "data" or "weights"; OneDNNError: there is none.

        *chosen*: the images whose layout the library may choose, of "src" and "dst".
        """
        found = self.first(kind, chosen)
        preferred = "avx512" in implementation(found) and self._prefers_direct(kind)
        return found if not preferred or direct(found) else self.first(kind, chosen)

    def _prefers_direct(self, kind: str) -> bool:
        """Whether direct loops are faster than the products of blocks that the library tries first.

        Measured with AVX-512, float32 (`benchmarks/onednn_layouts.py`): 1.3 to 1.7 times for the
        data's gradient with a stride, up to 1.1 times for the rest, and slower where this is false.
        With AVX2 they are slower more often than not.
        """
        outputs, inputs = self.plain["weights"][0][:2]
        if kind == "forward":
            return inputs >= 32
        return kind == "data" and (self.strided or outputs <= 64)

    def first(self, kind: str, chosen: tuple[str, ...]) -> c_void_p:
        """The same, with the library's own first choice of what computes it."""
        inner, none, algorithm = self._layouts(chosen), c_void_p(0), c_int(CONVOLUTION_DIRECT)
        forward = self._forward(inner)
        if kind == "forward":
            return forward
        x, w, y = (inner[name] for name in ("src", "weights", "dst"))
        if kind == "data":
            return self._description("backward_data", algorithm, x, w, y, *self.geometry, forward,
                                     none)  # fmt: skip
        bias = inner["bias"] if self.bias else none
        return self._description("backward_weights", algorithm, x, w, bias, y, *self.geometry,
                                 forward, none)  # fmt: skip

    def primitive(self, kind: str, chosen: tuple[str, ...]) -> Primitive:
        """The computation on arrays as NumPy has them; see :meth:`description`."""
        plain = {name: library.description(*plain) for name, plain in self.plain.items()}
        arrays = {n: of for n, of in _ARRAYS[kind].items() if self.bias or of != "bias"}
        found = self.description(kind, chosen)
        return Primitive(found, {name: plain[of] for name, of in arrays.items()})


#: Kind of computation → its arguments, each with what it is shaped as.
_ARRAYS = {
    "forward": {"src": "src", "weights": "weights", "bias": "bias", "dst": "dst"},
    "data": {"diff_dst": "dst", "weights": "weights", "diff_src": "src"},
    "weights": {
        "src": "src", "diff_dst": "dst", "diff_weights": "weights", "diff_bias": "bias"
    },
}  # fmt: skip


@cache
def _relu_after() -> c_void_p:
    """Attributes: ReLU in the same pass."""
    operations, attributes = c_void_p(), c_void_p()
    library.call("dnnl_post_ops_create", byref(operations))
    library.call("dnnl_post_ops_append_eltwise", operations, c_int(library.RELU), c_float(0.0),
                 c_float(0.0))  # fmt: skip
    library.call("dnnl_primitive_attr_create", byref(attributes))
    library.call("dnnl_primitive_attr_set_post_ops", attributes, operations)
    return attributes


KERNELS: dict[str, Callable[..., Any]] = {
    kernel.__name__: Bound(kernel)
    for kernel in (
        conv2d, conv2d_bias, conv2d_input_grad, conv2d_weight_grad, conv2d_weight_bias_grad,
        normalization.batch_norm, normalization.batch_norm_gradients,
        normalization.batch_norm_input_grad, normalization.batch_norm_weight_grad,
        pooling.max_pool2d, pooling.max_pool2d_grad, pooling.max_pool2d_winners,
        pooling.max_pool2d_route, products.matmul, products.linear,
    )
} | {
    kernel.__name__: Paired(kernel)
    for kernel in (normalization.batch_norm_relu, normalization.batch_norm_relu_gradients)
}  # fmt: skip
