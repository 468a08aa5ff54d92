"""Kernels, products, convolutions and generated kernels against references on the host."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from cudnn_plans import SHAPES

import agnostic_dl as adl
from agnostic_dl.extend import CHAIN, PRIMITIVES, chained
from agnostic_dl.primitives.program import interpret
from agnostic_dl.testing.programs import update_program
from agnostic_dl_cupy.codegen import ChainKernel, accepts
from gpu_checks.bench import Bench, agree, within

CONV: dict[str, Any] = {"dilation": (1, 1), "groups": 1}
#: Of these CUDA's results are the host's to the bit; of exp, log and their kin they are not.
ROUNDED = frozenset({"add", "subtract", "multiply", "divide", "sqrt", "square", "reciprocal", "abs",
                     "negative", "positive", "maximum", "minimum", "where", "sign", "clip",
                     "astype", "zeros_like", "ones_like", "less", "less_equal", "greater",
                     "greater_equal", "equal", "not_equal", "isfinite"})  # fmt: skip


def kernels(bench: Bench) -> dict[str, Any]:
    """Every kernel in every dtype against the float64 reference, on ragged sizes."""
    found: dict[str, Any] = {}
    for dtype in bench.available("float32", "float16", "bfloat16"):
        found[dtype] = within(_kernels(bench, dtype), dtype)
        bench.note(found)
    return found


def _kernels(bench: Bench, dtype: str) -> dict[str, float]:
    n = bench.pick(33, 3)
    normal, gap = partial(bench.normal, dtype=dtype), partial(bench.gap, dtype=dtype)
    x, channel = normal(n, 13, 11, 37), abs(normal(37)) + 1
    pool: dict[str, Any] = {"kernel": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 0))}
    out = PRIMITIVES["max_pool2d"].forward(bench.host.xp, x, **pool)
    small = x.ravel() / 4  # or the sum of their squares is beyond float16
    labels, logits = np.arange(n) % 10, normal(n, 10)
    average = {**pool, "count_include_pad": False}
    key = np.array([1, 2], np.uint32)
    mask = {"stream": (0, 1), "shape": (n, 37), "keep": 0.9}
    found = {
        "relu": gap("relu", x),
        "relu_grad": gap("relu_grad", x, np.maximum(x, 0)),
        "pack": gap("pack", *[normal(k + 1) for k in range(12)]),
        "sum": gap("sum", x, axis=(0, 1, 2)), "dot": gap("matmul", small, small),
        "max_pool2d": gap("max_pool2d", x, **pool),
        "max_pool2d_grad": gap("max_pool2d_grad", out, x, out, **pool),
        "avg_pool2d": gap("avg_pool2d", x, **average),
        "avg_pool2d_grad": gap("avg_pool2d_grad", out, size=(13, 11), **average),
        "batch_norm": gap("batch_norm", x, channel, channel, eps=1e-5),
        "batch_norm_relu": gap("batch_norm_relu", x, channel, channel - 2, eps=1e-5),
        "batch_norm_relu_gradients": gap(
            "batch_norm_relu_gradients", x, x, channel, channel, channel, x > 0, eps=1e-5),
        "batch_norm_input_grad": gap(
            "batch_norm_input_grad", x, x, channel, channel, channel, eps=1e-5),
        "batch_norm_weight_grad": gap(
            "batch_norm_weight_grad", x, x, channel, channel, eps=1e-5),
        "batch_norm_gradients": gap(
            "batch_norm_gradients", x, x, channel, channel, channel, eps=1e-5),
        "softmax_cross_entropy": gap("softmax_cross_entropy", logits, labels),
        "softmax_cross_entropy_grad": gap(
            "softmax_cross_entropy_grad", normal(n), logits, labels),
    }  # fmt: skip
    got = bench.backend.kernels["dropout_mask"](
        bench.xp, bench.place(key), **mask, dtype=bench.backend.dtypes[dtype]
    )
    wanted = PRIMITIVES["dropout_mask"].forward(
        bench.host.xp, key, **mask, dtype=np.dtype("float32")
    )
    return found | {"dropout_mask": bench.difference(got, wanted)}


def convolutions(bench: Bench) -> dict[str, Any]:
    """Every shape of the model zoo × three operations × dtypes, and once more from a graph."""
    found: dict[str, Any] = {"by": [type(w).__name__ for w in _ways(bench)]}
    for dtype in bench.available("float32", "tf32", "float16", "bfloat16"):
        gaps: dict[str, float] = {}
        for network, shapes in SHAPES.items():
            for shape in shapes[: bench.pick(None, 1)]:
                gaps |= _convolution(bench, dtype, network, *shape)
        found[dtype] = within(gaps, dtype)
        bench.note(found)
    found["captured equals eager"] = _captured_convolution(bench)
    return found | {"NaN survives bias and ReLU": _nan_survives(bench)} | _plans(bench)


def _plans(bench: Bench) -> dict[str, Any]:
    """How many plans cuDNN has built, and which it refused: those went by the columns."""
    plans = getattr(_ways(bench)[0], "plans", {})
    refused = [f"{s.operation} {s.dtype} {s.geometry}" for (s, *_), p in plans.items() if p is None]
    return {"cuDNN's plans": len(plans) - len(refused), "refused": refused}


def _ways(bench: Bench) -> Any:
    return bench.backend.kernels["conv2d"].__self__.ways


def _convolution(
    bench: Bench, dtype: str, network: str, side: int, inputs: int, outputs: int, kernel: int,
    stride: int, padding: int,
) -> dict[str, float]:  # fmt: skip
    static = {**CONV, "stride": (stride,) * 2, "padding": ((padding,) * 2,) * 2}
    side = bench.pick(side, 5)
    x = bench.normal(bench.pick(4, 1), side, side, inputs, dtype=dtype)
    w = bench.normal(kernel, kernel, inputs, outputs, dtype=dtype)
    shape = PRIMITIVES["conv2d"].forward(bench.host.xp, x, w, **static).shape
    g = bench.normal(*shape, dtype=dtype)
    name = f"{network} {side} {inputs}-{outputs} {kernel}x{kernel}/{stride}"
    gap = partial(bench.gap, dtype=dtype, **static)
    return {
        f"{name} forward": gap("conv2d", x, w),
        f"{name} with bias and ReLU": gap("conv2d_bias", x, w, w[0, 0, 0] + 0, relu=True),
        f"{name} input gradient": gap("conv2d_input_grad", g, w, size=x.shape[1:3]),
        f"{name} weight gradient": gap("conv2d_weight_grad", x, g, kernel=(kernel, kernel)),
    }


def _captured_convolution(bench: Bench) -> bool:
    """All three operations in one graph, replayed on new numbers."""
    static = {**CONV, "stride": (1, 1), "padding": ((1, 1), (1, 1))}
    x, w = bench.place(bench.normal(4, 8, 8, 16)), bench.place(bench.normal(3, 3, 16, 16))
    run = bench.backend.kernels

    def work() -> Any:
        out = run["conv2d"](bench.xp, x, w, **static)
        back = run["conv2d_input_grad"](bench.xp, out, w, size=(8, 8), **static)
        return run["conv2d_weight_grad"](bench.xp, back, out, kernel=(3, 3), **static)

    replay, out = bench.captured(work)
    for _ in range(3):
        x[...] = x * 0.5 + 0.1
        replay()
        agree(bench.backend.to_numpy(out), bench.backend.to_numpy(work()), rtol=1e-4, atol=1e-3)
    return True


def _nan_survives(bench: Bench) -> bool:
    """Reported, not required: cuDNN's rectifier may make 0 of NaN, which ours never does."""
    x, w = bench.normal(1, 5, 5, 4), bench.normal(3, 3, 4, 4)
    x[...] = np.nan
    static = {**CONV, "stride": (1, 1), "padding": ((1, 1), (1, 1)), "relu": True}
    arrays = [bench.place(a) for a in (x, w, w[0, 0, 0].copy())]
    out = bench.backend.kernels["conv2d_bias"](bench.xp, *arrays, **static)
    return bool(np.isnan(bench.backend.to_numpy(out)).all())


def products(bench: Bench) -> dict[str, Any]:
    """Products in every layout and dtype, in batches, and one that is captured in a graph."""
    found: dict[str, Any] = {}
    for dtype in bench.available("float32", "tf32", "float16", "bfloat16"):
        normal, gap = partial(bench.normal, dtype=dtype), partial(bench.gap, dtype=dtype)
        x, y = normal(65, 129), normal(129, 33)
        found[dtype] = within({
            "rows": gap("matmul", x, y), "columns": gap("matmul", x.T.copy().T, y.T.copy().T),
            "batches": gap("matmul", normal(5, 17, 31), normal(5, 31, 19)),
            "linear": gap("linear", x, y, y[0].copy()),
        }, dtype)  # fmt: skip
    return found | {"captured equals eager": replayed(bench, lambda: None)}


def replayed(bench: Bench, between: Any) -> bool:
    """Five replays of relu(x @ y) equal eager runs; *between* is called before each."""
    a, b = (bench.place(bench.normal(64, 64)) for _ in range(2))
    run = bench.backend.kernels
    replay, out = bench.captured(
        lambda: run["relu"](bench.xp, run["matmul"](bench.xp, a, b))
    )  # fmt: skip
    for _ in range(5):
        between()
        a[...] = a * 0.5 + 1
        replay()
        wanted = np.maximum(bench.backend.to_numpy(a) @ bench.backend.to_numpy(b), 0)
        agree(bench.backend.to_numpy(out), wanted, rtol=1e-4, atol=1e-4)
    return True


def generated(bench: Bench) -> dict[str, Any]:
    """Every elementwise optimizer's generated kernel, quotients and roots among them.

    The numbers are NumPy's to the bit, or within 4 units in the last place where the update has
    functions of which each library computes the last places as it sees fit.
    """
    found = {}
    names = [n for n in adl.list_optimizers() if adl.optimizer(n).elementwise]
    for name in names[: bench.pick(None, 3)]:
        found[name] = _generated(bench, adl.optimizer(name))
    off = {name: ulps for name, (ulps, allowed) in found.items() if ulps > allowed}
    if off:
        raise AssertionError(f"units in the last place: {off}")
    return {"units in the last place": {name: ulps for name, (ulps, _) in found.items()}}


def _generated(bench: Bench, optimizer: Any) -> tuple[int, int]:
    """(largest difference in units in the last place, what is allowed)."""
    size = bench.pick(1_000_003, 1003)
    with adl.use_backend(bench.host):
        program = chained(update_program(optimizer, size), accepts)
        arrays = {name: _input(name, program.values[n]) for name, n in program.inputs.items()}
        wanted = interpret(update_program(optimizer, size), arrays, bench.host.xp)
    (chain,) = (i for i in program.code if i.op == CHAIN)
    held = {program.inputs[name]: array for name, array in arrays.items()} | program.constants
    ins = [bench.place(np.asarray(held[n])) for n in chain.reads]
    outs = [bench.place(np.zeros(program.values[n].shape, np.float32)) for n in chain.outs]
    launch(bench, ChainKernel(chain, program.values), ins, outs)
    worst = 0
    for number, out in zip(chain.outs, outs, strict=True):
        for name in (name for name, n in program.outputs.items() if n == number):
            worst = max(worst, _ulps(bench.backend.to_numpy(out), np.asarray(wanted[name])))
    exact = {i.op for i in chain.static["code"]} <= ROUNDED
    return worst, 0 if exact else 4


def launch(bench: Bench, kernel: ChainKernel, ins: list[Any], outs: list[Any]) -> None:
    """A generated kernel on the device, or its body on the host."""
    if not bench.dry:
        kernel(ins, outs)
        return
    from agnostic_dl_cupy.rehearsal import chains

    chains.compiled(kernel.source)(kernel.count, kernel.count // 4, ins, outs)


def _input(name: str, value: Any) -> Any:
    """Random, some of it subnormal; what is divided by or has its root taken is positive."""
    array = np.random.default_rng(len(name)).normal(size=value.shape)
    if name in ("param", "grad"):
        array[:4] = 1e-40, -1e-40, 1e-42, 0
    positive = name not in ("param", "grad", "m", "velocity")
    return np.asarray(np.abs(array) / 4 + 0.01 if positive else array, dtype=np.float32)


def _ulps(one: Any, other: Any) -> int:
    gap = np.abs(one.astype(np.float64) - other) / np.spacing(np.abs(other)).astype(np.float64)
    return int(np.max(gap, initial=0))
