"""Layers as functions: arrays or Tensors of images (N, H, W, C) in, the same kind out."""

from __future__ import annotations

from typing import Any

from agnostic_dl.errors import DTypeError, ShapeError, UsageError
from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.primitives.convolution import Borders, Pair, window_count

IntOrPair = int | tuple[int, int]


def pair(value: Any, what: str, least: int = 0) -> Pair:
    """An int or a pair of ints as a pair, each at least *least*."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(isinstance(v, int) and v >= least for v in values):
        raise UsageError(f"{what}: expected an integer or a pair, each ≥ {least}, got {value!r}")
    return values


def _borders(padding: Any, kernel: Pair, stride: Pair, dilation: Pair) -> Borders:
    """Padding as given to conv2d, for each border: ((top, bottom), (left, right))."""
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding == "same":
        if stride != (1, 1):
            raise UsageError(
                f"padding='same' is defined for stride 1 only, got stride {stride}: give the "
                f"padding in numbers"
            )
        totals = [dilation[a] * (kernel[a] - 1) for a in (0, 1)]
        return tuple((t // 2, t - t // 2) for t in totals)  # type: ignore[return-value]
    if isinstance(padding, str):
        raise UsageError(
            f"padding: expected an integer, a pair, 'same' or 'valid', got {padding!r}"
        )
    rows, columns = pair(padding, "padding")
    return ((rows, rows), (columns, columns))


def _check_image(x: Any, who: str, channels: int | None = None) -> None:
    if len(x.shape) != 4 or (channels is not None and x.shape[3] != channels):
        wanted = "C" if channels is None else channels
        raise ShapeError(
            f"{who}: expected images of shape (N, H, W, {wanted}), channels last, got "
            f"{tuple(x.shape)}"
        )


def _check_windows(x: Any, who: str, kernel: Pair, stride: Pair, padding: Borders,
                   dilation: Pair = (1, 1)) -> None:  # fmt: skip
    counts = [
        window_count(x.shape[1 + a], kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1)
    ]
    if min(counts) < 1:
        raise ShapeError(
            f"{who}: images of {x.shape[1]}×{x.shape[2]} are too small for a window of "
            f"{kernel[0]}×{kernel[1]} (padding {padding}, dilation {dilation})"
        )


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: IntOrPair = 1, padding: IntOrPair | str = 0,
    dilation: IntOrPair = 1, groups: int = 1, *, who: str = "conv2d",
) -> Any:  # fmt: skip
    """Convolve images: x (N, H, W, C), weight (kh, kw, C / groups, O), bias (O,) → (N, H', W', O).

    *padding*: an int, a pair, "same" (stride 1; odd rests go below and right) or "valid". As in
    all deep learning libraries the kernel is not flipped. *who* is named in errors.
    """
    if len(weight.shape) != 4 or groups < 1 or weight.shape[3] % groups:
        raise ShapeError(
            f"{who}: expected a weight of shape (kh, kw, C / groups, O) with O a multiple of "
            f"groups={groups}, got {tuple(weight.shape)}"
        )
    _check_image(x, who, weight.shape[2] * groups)
    kernel = (weight.shape[0], weight.shape[1])
    steps, spacing = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
    borders = _borders(padding, kernel, steps, spacing)
    _check_windows(x, who, kernel, steps, borders, spacing)
    out = PRIMITIVES["conv2d"](
        x, weight, stride=steps, padding=borders, dilation=spacing, groups=groups
    )
    return out if bias is None else PRIMITIVES["add"](out, bias)


def _pool_geometry(
    x: Any, kernel_size: Any, stride: Any, padding: Any, who: str
) -> tuple[Pair, Pair, Borders]:
    _check_image(x, who)
    kernel = pair(kernel_size, "kernel_size", 1)
    steps = kernel if stride is None else pair(stride, "stride", 1)
    rows, columns = pair(padding, "padding")
    if 2 * rows > kernel[0] or 2 * columns > kernel[1]:
        raise UsageError(
            f"{who}: padding {padding} is more than half of the window {kernel}: some windows "
            f"would hold nothing but border"
        )
    borders = ((rows, rows), (columns, columns))
    _check_windows(x, who, kernel, steps, borders)
    return kernel, steps, borders


def max_pool2d(
    x: Any, kernel_size: IntOrPair, stride: IntOrPair | None = None, padding: IntOrPair = 0, *,
    who: str = "max_pool2d",
) -> Any:  # fmt: skip
    """Largest value of each window: (N, H, W, C) → (N, H', W', C); *stride* is the window's size.

    The gradient of a window goes to the first of its largest values.
    """
    kernel, steps, borders = _pool_geometry(x, kernel_size, stride, padding, who)
    return PRIMITIVES["max_pool2d"](x, kernel=kernel, stride=steps, padding=borders)


def avg_pool2d(
    x: Any, kernel_size: IntOrPair, stride: IntOrPair | None = None, padding: IntOrPair = 0,
    count_include_pad: bool = True, *, who: str = "avg_pool2d",
) -> Any:  # fmt: skip
    """Mean of each window: (N, H, W, C) → (N, H', W', C).

    *count_include_pad*: zeros of the border count as values, or not at all.
    """
    kernel, steps, borders = _pool_geometry(x, kernel_size, stride, padding, who)
    return PRIMITIVES["avg_pool2d"](
        x, kernel=kernel, stride=steps, padding=borders, count_include_pad=count_include_pad
    )


def global_avg_pool2d(x: Any) -> Any:
    """Mean over each image: (N, H, W, C) → (N, C)."""
    _check_image(x, "global_avg_pool2d")
    return PRIMITIVES["mean"](x, axis=(1, 2))


def linear(x: Any, weight: Any, bias: Any = None, *, who: str = "linear") -> Any:
    """x (..., in) @ weight (in, out) + bias (out,) → (..., out)."""
    if not x.shape or x.shape[-1] != weight.shape[0]:
        raise ShapeError(
            f"{who}: expected inputs of shape (..., {weight.shape[0]}) for a weight of shape "
            f"{tuple(weight.shape)}, got {tuple(x.shape)}"
        )
    if bias is None:
        return PRIMITIVES["matmul"](x, weight)
    return PRIMITIVES["linear"](x, weight, bias)


def batch_norm(x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    """Normalise (..., C) by given statistics (C,), as in evaluation."""
    p = PRIMITIVES
    scale = p["divide"](weight, p["sqrt"](p["add"](var, eps)))
    shift = p["subtract"](bias, p["multiply"](mean, scale))
    return p["add"](p["multiply"](x, scale), shift)


def flatten(x: Any) -> Any:
    """(N, ...) → (N, the rest)."""
    size = 1
    for n in x.shape[1:]:
        size *= n
    return PRIMITIVES["reshape"](x, shape=(x.shape[0], size))


def relu(x: Any) -> Any:
    """max(x, 0)."""
    return PRIMITIVES["relu"](x)


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """x where positive, else slope · x."""
    p = PRIMITIVES
    return p["where"](p["greater"](x, p["zeros_like"](x)), x, p["multiply"](x, slope))


def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return PRIMITIVES["tanh"](x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return PRIMITIVES["sigmoid"](x)


def silu(x: Any) -> Any:
    """x · sigmoid(x)."""
    return PRIMITIVES["multiply"](x, PRIMITIVES["sigmoid"](x))


def gelu(x: Any) -> Any:
    """x · Φ(x), by the tanh approximation.

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, section 2.
    """
    p = PRIMITIVES
    inner = p["add"](x, p["multiply"](p["pow"](x, 3.0), 0.044715))
    gate = p["add"](p["tanh"](p["multiply"](inner, 0.7978845608028654)), 1.0)
    return p["multiply"](p["multiply"](x, 0.5), gate)


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / Σ exp(x) along an axis."""
    return PRIMITIVES["softmax"](x, axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """Logarithm of softmax."""
    return PRIMITIVES["log_softmax"](x, axis=axis)


def check_labels(logits: Any, labels: Any, who: str) -> None:
    """Refuse all but logits (N, K) with integer labels (N,)."""
    if len(logits.shape) != 2 or tuple(labels.shape) != (logits.shape[0],):
        raise ShapeError(
            f"{who}: expected logits (N, classes) and labels (N,), got {tuple(logits.shape)} and "
            f"{tuple(labels.shape)}"
        )
    if "int" not in str(labels.dtype):
        raise DTypeError(f"{who}: expected integer labels, got {labels.dtype}")
