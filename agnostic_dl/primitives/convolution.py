"""Convolution in two dimensions and its two adjoints, as sums of shifted matrix products.

Layout: x (N, H, W, C), weight (kh, kw, C / groups, O), out (N, H', W', O). *padding* is given for
each border, ((top, bottom), (left, right)). As everywhere in deep learning, the kernel is not
flipped. The three primitives are each other's derivatives.
"""

from __future__ import annotations

import math
from typing import Any

from agnostic_dl.primitives.definition import primitive

Pair = tuple[int, int]
Borders = tuple[Pair, Pair]


def window_count(size: int, kernel: int, stride: int, border: Pair, dilation: int = 1) -> int:
    """How many windows fit along one axis."""
    return (size + border[0] + border[1] - dilation * (kernel - 1) - 1) // stride + 1


def pad_image(xp: Any, x: Any, padding: Borders, value: float = 0.0) -> Any:
    """Add borders to the two middle axes of (N, H, W, C); negative ones crop."""
    (top, bottom), (left, right) = padding
    rows = slice(max(-top, 0), x.shape[1] - max(-bottom, 0))
    columns = slice(max(-left, 0), x.shape[2] - max(-right, 0))
    if min(top, bottom, left, right) < 0:
        x = x[:, rows, columns, :]
    borders = tuple((max(before, 0), max(after, 0)) for before, after in padding)
    if borders == ((0, 0), (0, 0)):
        return x
    import array_api_extra as xpx

    return xpx.pad(x, ((0, 0), *borders, (0, 0)), constant_values=value, xp=xp)


def window_slice(x: Any, at: Pair, out_size: Pair, stride: Pair, dilation: Pair) -> Any:
    """The element *at* = (i, j) of every window of a padded (N, H, W, C): (N, H', W', C)."""
    top, left = at[0] * dilation[0], at[1] * dilation[1]
    rows = slice(top, top + (out_size[0] - 1) * stride[0] + 1, stride[0])
    columns = slice(left, left + (out_size[1] - 1) * stride[1] + 1, stride[1])
    return x[:, rows, columns, :]


def spread_out(xp: Any, x: Any, stride: Pair) -> Any:
    """Put stride - 1 zeros between the rows and columns of (N, H, W, C), without a scatter."""
    n, h, w, c = x.shape
    if stride[0] > 1:
        gaps = [xp.zeros_like(x)] * (stride[0] - 1)
        x = xp.reshape(xp.stack([x, *gaps], axis=2), (n, h * stride[0], w, c))
        x = x[:, : (h - 1) * stride[0] + 1, :, :]
    if stride[1] > 1:
        gaps = [xp.zeros_like(x)] * (stride[1] - 1)
        x = xp.reshape(xp.stack([x, *gaps], axis=3), (n, x.shape[1], w * stride[1], c))
        x = x[:, :, : (w - 1) * stride[1] + 1, :]
    return x


def _by_group(xp: Any, rows: Any, groups: int) -> Any:
    """(M, C) → (groups, M, C / groups)."""
    split = xp.reshape(rows, (rows.shape[0], groups, rows.shape[1] // groups))
    return xp.permute_dims(split, (1, 0, 2))


def _from_groups(xp: Any, rows: Any) -> Any:
    """(groups, M, O / groups) → (M, O)."""
    groups, count, width = rows.shape
    return xp.reshape(xp.permute_dims(rows, (1, 0, 2)), (count, groups * width))


def _grouped_product(xp: Any, rows: Any, tap: Any, groups: int) -> Any:
    """(M, C) times one tap (C / groups, O) of the weight, group by group: (M, O)."""
    if groups == 1:
        return xp.matmul(rows, tap)
    return _from_groups(xp, xp.matmul(_by_group(xp, rows, groups), _by_group(xp, tap, groups)))


@primitive
def conv2d(
    xp: Any, x: Any, weight: Any, *, stride: Pair, padding: Borders, dilation: Pair, groups: int
) -> Any:
    """Cross-correlate x (N, H, W, C) with weight (kh, kw, C / groups, O): (N, H', W', O)."""
    kh, kw, _, channels = weight.shape
    size = (
        window_count(x.shape[1], kh, stride[0], padding[0], dilation[0]),
        window_count(x.shape[2], kw, stride[1], padding[1], dilation[1]),
    )
    padded, count = pad_image(xp, x, padding), x.shape[0] * math.prod(size)
    out: Any = None
    for i in range(kh):
        for j in range(kw):
            window = window_slice(padded, (i, j), size, stride, dilation)
            rows = xp.reshape(window, (count, x.shape[3]))
            term = _grouped_product(xp, rows, weight[i, j, :, :], groups)
            out = term if out is None else xp.add(out, term)
    return xp.reshape(out, (x.shape[0], *size, channels))


@primitive
def conv2d_input_grad(
    xp: Any, g: Any, weight: Any, *, size: Pair, stride: Pair, padding: Borders, dilation: Pair,
    groups: int,
) -> Any:  # fmt: skip
    """Adjoint of conv2d in x: g (N, H', W', O) → (N, H, W, C) with *size* = (H, W).

    It is itself a convolution of stride 1: of g, its rows and columns spread out by the stride,
    with the kernel turned by half a circle and its channels swapped.
    """
    kh, kw, depth, channels = weight.shape
    spread = spread_out(xp, g, stride)
    reach = (dilation[0] * (kh - 1), dilation[1] * (kw - 1))
    borders: Any = tuple(
        (reach[a] - padding[a][0], size[a] + padding[a][0] - spread.shape[1 + a]) for a in (0, 1)
    )
    split = xp.reshape(xp.flip(weight, axis=(0, 1)), (kh, kw, depth, groups, channels // groups))
    turned = xp.reshape(
        xp.permute_dims(split, (0, 1, 4, 3, 2)), (kh, kw, channels // groups, groups * depth)
    )
    return conv2d.forward(
        xp, spread, turned, stride=(1, 1), padding=borders, dilation=dilation, groups=groups
    )


@primitive
def conv2d_weight_grad(
    xp: Any, x: Any, g: Any, *, kernel: Pair, stride: Pair, padding: Borders, dilation: Pair,
    groups: int,
) -> Any:  # fmt: skip
    """Adjoint of conv2d in the weight: x (N, H, W, C), g (N, H', W', O) → (kh, kw, C/groups, O)."""
    size, padded = (g.shape[1], g.shape[2]), pad_image(xp, x, padding)
    count = g.shape[0] * size[0] * size[1]
    columns = _by_group(xp, xp.reshape(g, (count, g.shape[3])), groups)
    taps = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            window = window_slice(padded, (i, j), size, stride, dilation)
            rows = _by_group(xp, xp.reshape(window, (count, x.shape[3])), groups)
            taps.append(_from_groups(xp, xp.matmul(xp.matrix_transpose(rows), columns)))
    depth = x.shape[3] // groups
    return xp.reshape(xp.stack(taps), (*kernel, depth, g.shape[3]))


@primitive
def conv2d_bias(
    xp: Any, x: Any, weight: Any, bias: Any, *, relu: bool = False, stride: Pair, padding: Borders,
    dilation: Pair, groups: int,
) -> Any:  # fmt: skip
    """conv2d plus a bias (O,), then ReLU if *relu*: what a kernel can do in one pass."""
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    out = xp.add(conv2d.forward(xp, x, weight, **geometry), bias)
    return xp.maximum(out, xp.zeros_like(out)) if relu else out


@primitive
def conv2d_weight_bias_grad(
    xp: Any, x: Any, g: Any, *, kernel: Pair, stride: Pair, padding: Borders, dilation: Pair,
    groups: int,
) -> tuple[Any, Any]:  # fmt: skip
    """Adjoints of conv2d_bias in the weight, (kh, kw, C / groups, O), and in the bias, (O,)."""
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    weight = conv2d_weight_grad.forward(xp, x, g, kernel=kernel, **geometry)
    return weight, xp.sum(g, axis=(0, 1, 2))


def _weight_bias_formula(xp: Any, x: Any, g: Any, **static: Any) -> Any:
    return xp.conv2d_weight_grad(x, g, **static), xp.sum(g, axis=(0, 1, 2))


conv2d_weight_bias_grad.defvjp_composed(_weight_bias_formula)


def _bias_formula(xp: Any, x: Any, weight: Any, bias: Any, *, relu: bool, **geometry: Any) -> Any:
    out = xp.add(xp.conv2d(x, weight, **geometry), bias)
    return xp.relu(out) if relu else out


conv2d_bias.defvjp_composed(_bias_formula)


def _input_rule(xp: Any, g: Any, out: Any, x: Any, weight: Any, **geometry: Any) -> Any:
    return xp.conv2d_input_grad(g, weight, size=(x.shape[1], x.shape[2]), **geometry)


def _weight_rule(xp: Any, g: Any, out: Any, x: Any, weight: Any, **geometry: Any) -> Any:
    return xp.conv2d_weight_grad(x, g, kernel=(weight.shape[0], weight.shape[1]), **geometry)


conv2d.defvjp(_input_rule, _weight_rule, keeps=["x", "weight"])


def _without(static: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in static.items() if key != name}


# Each of the three is linear in both arguments, so the rules of the adjoints are again the three,
# with the incoming gradient t in the place of the image or of the weight.
conv2d_input_grad.defvjp(
    lambda xp, t, out, g, weight, **static: xp.conv2d(t, weight, **_without(static, "size")),
    lambda xp, t, out, g, weight, **static: xp.conv2d_weight_grad(
        t, g, kernel=(weight.shape[0], weight.shape[1]), **_without(static, "size")
    ),
)
conv2d_weight_grad.defvjp(
    lambda xp, t, out, x, g, **static: xp.conv2d_input_grad(
        g, t, size=(x.shape[1], x.shape[2]), **_without(static, "kernel")
    ),
    lambda xp, t, out, x, g, **static: xp.conv2d(x, t, **_without(static, "kernel")),
)
