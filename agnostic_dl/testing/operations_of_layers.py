"""The table of operations, continued: linear algebra and the operations of layers."""

from __future__ import annotations

from typing import Any

from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl.testing.operations import sampler
from agnostic_dl.testing.samples import Draw

# -- linear algebra ------------------------------------------------------------------------------


def _square(d: Draw) -> Any:
    return d.matrices(d.choice(1, 2, 3), numbers=d.choice("real", "real", "complex"))


sampler("linalg.inv", "linalg.det", "linalg.slogdet")(lambda d: ((_square(d),), {}))
sampler("linalg.matrix_power")(lambda d: ((_square(d),), {"n": d.choice(-2, -1, 0, 1, 2, 3, 5)}))
sampler("linalg.matrix_rank")(lambda d: ((_square(d),), {}))
sampler("linalg.eigvals")(lambda d: ((d.matrices(d.choice(1, 2, 3)),), {}))


def _without_phases(out: Any) -> Any:
    """Eigenvalues, and the sizes of the eigenvectors' elements: their phases are arbitrary."""
    return out[0], PRIMITIVES["abs"](out[1])


sampler("linalg.eig")(lambda d: ((d.matrices(d.choice(1, 2, 3)),), {}, None, _without_phases))


@sampler("linalg.solve")
def _solve(d: Draw) -> Any:
    a = d.matrices(3)
    return (a, d.choice(d.reals((3,)), d.reals((3, 2)), d.reals((*a.shape[:-2], 3, 1)))), {}


def _symmetric(x: Any) -> tuple[Any, ...]:
    """A Hermitian matrix of any; libraries read one triangle only."""
    return (PRIMITIVES["add"](x, PRIMITIVES["conj"](PRIMITIVES["matrix_transpose"](x))),)


def _positive(x: Any) -> tuple[Any, ...]:
    matmul, transpose = PRIMITIVES["matmul"], PRIMITIVES["matrix_transpose"]
    return (matmul(x, PRIMITIVES["conj"](transpose(x))),)


sampler("linalg.eigh")(lambda d: ((d.matrices(d.choice(1, 2, 3)),), {}, _symmetric))
sampler("linalg.eigvalsh")(lambda d: ((_square(d),), {}, _symmetric))
sampler("linalg.cholesky")(lambda d: ((_square(d),), {"upper": d.choice(True, False)}, _positive))


def _oblong(d: Draw) -> tuple[int, int]:
    return d.choice((2, 2), (3, 2), (2, 3), (3, 3), (1, 3))


sampler("linalg.pinv")(
    lambda d: ((d.matrices(*_oblong(d), numbers=d.choice("real", "complex")),), {})
)
sampler("linalg.qr")(
    lambda d: ((d.matrices(*_oblong(d), numbers=d.choice("real", "complex")),), {"mode": "reduced"})
)
sampler("linalg.svd")(lambda d: ((d.matrices(*_oblong(d)),), {"full_matrices": False}))
sampler("linalg.svdvals")(
    lambda d: ((d.matrices(*_oblong(d), numbers=d.choice("real", "complex")),), {})
)


@sampler("linalg.vector_norm")
def _vector_norm(d: Draw) -> Any:
    x = d.either(d.shape(1, empty=False))
    ord = d.choice(2, 1, 3, 0.5, 0, -1, float("inf"), float("-inf"))
    if abs(ord) == float("inf"):
        x = d.apart(x.shape) + 5.0
    return (x,), {"axis": d.axes(x.ndim), "keepdims": d.choice(True, False), "ord": ord}


@sampler("linalg.matrix_norm")
def _matrix_norm(d: Draw) -> Any:
    ord = d.choice("fro", "nuc", 1, -1, 2, -2, float("inf"), float("-inf"))
    return (d.matrices(*_oblong(d)),), {"ord": ord, "keepdims": d.choice(True, False)}


# -- convolution and pooling ---------------------------------------------------------------------


def _geometry(d: Draw) -> dict[str, Any]:
    padding = d.choice(((0, 0), (0, 0)), ((1, 1), (1, 1)), ((0, 1), (2, 0)))
    return {
        "stride": d.choice((1, 1), (2, 1)),
        "padding": padding,
        "dilation": d.choice((1, 1), (2, 1)),
    }


def _convolution(d: Draw) -> tuple[Any, Any, Any, dict[str, Any]]:
    groups = d.choice(1, 2)
    static = {**_geometry(d), "groups": groups}
    x, weight = d.reals((d.choice(1, 2), 5, 4, 2)), d.reals((2, 3, 2 // groups, 2))
    return x, weight, PRIMITIVES["conv2d"](x, weight, **static), static


@sampler("conv2d")
def _conv2d(d: Draw) -> Any:
    x, weight, _, static = _convolution(d)
    return (x, weight), static


@sampler("conv2d_bias")
def _conv2d_bias(d: Draw) -> Any:
    x, weight, _, static = _convolution(d)
    # With ReLU all results are positive: at a kink finite differences say nothing.
    relu = d.choice(True, False)
    bias = d.reals((weight.shape[3],), 90.0, 99.0) if relu else d.reals((weight.shape[3],))
    return (x, weight, bias), {**static, "relu": relu}


@sampler("conv2d_input_grad")
def _conv2d_input_grad(d: Draw) -> Any:
    x, weight, out, static = _convolution(d)
    return (d.reals(out.shape), weight), {**static, "size": (x.shape[1], x.shape[2])}


@sampler("conv2d_weight_grad")
def _conv2d_weight_grad(d: Draw) -> Any:
    x, weight, out, static = _convolution(d)
    return (x, d.reals(out.shape)), {**static, "kernel": (weight.shape[0], weight.shape[1])}


@sampler("conv2d_weight_bias_grad")
def _conv2d_weight_bias_grad(d: Draw) -> Any:
    return _conv2d_weight_grad(d)


def _windows(d: Draw) -> dict[str, Any]:
    kernel, stride = d.choice(((2, 2), (2, 2)), ((3, 2), (1, 2)), ((1, 1), (1, 1)))
    padding = d.choice(((0, 0), (0, 0)), ((1, 0), (0, 1)))
    return {
        "kernel": kernel,
        "stride": stride,
        "padding": padding if kernel != (1, 1) else ((0, 0), (0, 0)),
    }


sampler("max_pool2d")(lambda d: ((d.apart((2, 4, 5, 1)),), _windows(d)))


def _pooled(d: Draw) -> tuple[Any, Any, dict[str, Any]]:
    x, static = d.apart((1, 4, 5, 2)), _windows(d)
    return x, PRIMITIVES["max_pool2d"](x, **static), static


@sampler("max_pool2d_grad")
def _spread_to_winners(d: Draw) -> Any:
    x, out, static = _pooled(d)
    return (d.reals(out.shape),), static, lambda g: (g, x, out)


@sampler("max_pool2d_pick")
def _pick_winners(d: Draw) -> Any:
    x, out, static = _pooled(d)
    return (d.reals(x.shape),), static, lambda t: (t, x, out)


sampler("max_pool2d_winners")(
    lambda d: ((d.apart((2, 4, 5, 1)),), _windows(d), None, lambda out: out[0])
)


@sampler("max_pool2d_route")
def _route_to_winners(d: Draw) -> Any:
    x, static = d.apart((1, 4, 5, 2)), _windows(d)
    out, winner = PRIMITIVES["max_pool2d_winners"](x, **static)
    return (d.reals(out.shape),), {**static, "size": (4, 5)}, lambda g: (g, winner)


@sampler("max_pool2d_gather")
def _gather_from_winners(d: Draw) -> Any:
    x, static = d.apart((1, 4, 5, 2)), _windows(d)
    winner = PRIMITIVES["max_pool2d_winners"](x, **static)[1]
    return (d.reals(x.shape),), static, lambda t: (t, winner)


@sampler("avg_pool2d")
def _avg_pool2d(d: Draw) -> Any:
    return (d.reals((2, 4, 5, 1)),), {**_windows(d), "count_include_pad": d.choice(True, False)}


@sampler("avg_pool2d_grad")
def _avg_pool2d_grad(d: Draw) -> Any:
    static = {**_windows(d), "count_include_pad": d.choice(True, False)}
    x = d.reals((2, 4, 5, 1))
    return (d.reals(PRIMITIVES["avg_pool2d"](x, **static).shape),), {**static, "size": (4, 5)}


# -- normalisation, activation, classification -----------------------------------------------------

sampler("batch_norm")(
    lambda d: (
        (d.reals((4, *d.shape(0, 1, empty=False), 2)), d.reals((2,)), d.reals((2,))),
        {"eps": 1e-3},
    )
)
sampler("layer_norm")(
    lambda d: ((d.reals((*d.shape(0, 1), 2, 3)), *(2 * (d.reals((2, 3)),))), {"eps": 1e-3})
)


@sampler("batch_norm_input_grad")
def _batch_norm_input_grad(d: Draw) -> Any:
    g, x = d.reals((5, 2)), d.reals((5, 2))
    return (g, x, d.reals((2,)), d.reals((2,), 0.5, 2.0), d.reals((2,))), {"eps": 1e-3}


@sampler("batch_norm_weight_grad")
def _batch_norm_weight_grad(d: Draw) -> Any:
    return (d.reals((5, 2)), d.reals((5, 2)), d.reals((2,)), d.reals((2,), 0.5, 2.0)), {"eps": 1e-3}


sampler("batch_norm_gradients")(_batch_norm_input_grad)


@sampler("batch_norm_relu")
def _batch_norm_relu(d: Draw) -> Any:
    # A bias far from zero on either side: at a kink finite differences say nothing.
    bias = d.reals((2,), 20.0, 30.0) if d.choice(True, False) else d.reals((2,), -30.0, -20.0)
    return (d.reals((5, 2)), d.reals((2,)), bias), {"eps": 1e-3}, None, lambda out: out[:3]


@sampler("batch_norm_relu_gradients")
def _batch_norm_relu_gradients(d: Draw) -> Any:
    args, static = _batch_norm_input_grad(d)
    return (*args, d.booleans((5, 2))), static


sampler("relu_grad")(lambda d: ((s := d.shape()) is not None and (d.reals(s), d.clear(s)), {}))
sampler("softmax", "log_softmax")(
    lambda d: ((x := d.reals(d.shape(1, empty=False)),), {"axis": d.axis(x.ndim)})
)
sampler("one_hot")(
    lambda d: ((d.integers(d.shape(), 0, 4),), {"classes": 4, "dtype": d.xp.float64})
)
sampler("softmax_cross_entropy")(lambda d: ((d.reals((3, 4)), d.integers((3,), 0, 4)), {}))
sampler("softmax_cross_entropy_grad")(
    lambda d: ((d.reals((3,)), d.reals((3, 4)), d.integers((3,), 0, 4)), {})
)


@sampler("dropout_mask")
def _dropout_mask(d: Draw) -> Any:
    from agnostic_dl import random

    key = random.key_array(d.xp, random.key(0))
    return (key,), {"stream": random.key(1), "shape": (3,), "keep": 0.5, "dtype": d.xp.float64}


# -- storage ---------------------------------------------------------------------------------------

sampler("pack")(lambda d: (tuple(d.reals(d.shape()) for _ in range(d.choice(1, 2, 3))), {}))
sampler("unpack")(
    lambda d: ((d.reals((9,)),), {"shapes": ((2,), (2, 3), ()), "index": d.choice(0, 1, 2)})
)
