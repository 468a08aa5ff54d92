"""Adam and convolutions beside a copy and PyTorch: results are compared first, then times."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
from cudnn_plans import SHAPES

import agnostic_dl as adl
from agnostic_dl.extend import CHAIN, chained
from agnostic_dl.testing.programs import update_program
from agnostic_dl_cupy import autotune, tf32
from agnostic_dl_cupy.codegen import ChainKernel, accepts
from gpu_checks import peer
from gpu_checks.bench import LIMITS, Bench, aims, largest
from gpu_checks.exactness import CONV, launch

#: Read: parameter, gradient and two moments; written: parameter and moments; four bytes each.
ADAM_BYTES = 28
RATE = 1e-3
#: Seconds after which a phase tries no more plans of cuDNN: how long that takes is not known yet.
TUNED_FOR = 45


def adam(bench: Bench) -> dict[str, Any]:
    """The generated kernel of Adam on 100 million parameters."""
    size = bench.pick(100_000_000, 1000)
    arrays, run = _our_adam(bench, size)
    source, target = bench.xp.ones(size, dtype=arrays["param"].dtype), arrays["grad"] * 0
    theirs = _torch_adam(bench, arrays)
    result: dict[str, Any] = {"parameters": size, "dtype": "float32"}
    runs: list[Callable[[], Any]] = [run, lambda: _copy(bench, target, source)]
    if theirs is None:
        result["torch"] = "absent"
    else:
        result |= _one_adam_step(bench, arrays, run, *theirs)
        runs.append(theirs[1])
    ours, copy, *others = bench.medians(*runs, inner=5)
    result |= {
        "seconds": ours, "bytes per second": ADAM_BYTES * size / ours,
        "copy bytes per second": 8 * size / copy,
        "share of the copy bandwidth": ADAM_BYTES / ours / (8 / copy),
    }  # fmt: skip
    if others:
        result |= {"torch seconds": others[0], "ratio": others[0] / ours}
    return result | aims(result, share_of_the_copy_bandwidth=0.9, ratio=1.0)


def _our_adam(bench: Bench, size: int) -> tuple[dict[str, Any], Callable[[], None]]:
    """(the arrays by name, an update in place)."""
    with adl.use_backend(bench.host):  # equal chains share a kernel, whatever their length
        program = chained(update_program(adl.optimizer("adam", learning_rate=RATE), 8), accepts)
    values = {
        n: v if v.shape == () else type(v)((size,), v.dtype) for n, v in program.values.items()
    }
    (chain,) = (i for i in program.code if i.op == CHAIN)
    draw = np.random.default_rng(0)
    arrays = {}
    for name, number in program.inputs.items():
        shape, drawn = values[number].shape, name in ("param", "grad")
        array = draw.standard_normal(shape, dtype=np.float32) if drawn else np.zeros(shape)
        arrays[name] = bench.place(np.asarray(array))
    for name, value in adl.optimizer("adam").scalars(RATE, 1).items():
        arrays[f"scalar.{name}"] = bench.place(np.asarray(value, np.float32))
    held = {n: arrays[name] for name, n in program.inputs.items()}
    held |= {n: bench.place(np.asarray(a)) for n, a in program.constants.items()}
    places = {program.outputs[new]: held[program.inputs[to]]
              for new, to in program.donations.items()}  # fmt: skip
    kernel = ChainKernel(chain, values)
    ins, outs = [held[n] for n in chain.reads], [places[n] for n in chain.outs]
    return arrays, lambda: launch(bench, kernel, ins, outs)


def _torch_adam(bench: Bench, arrays: dict[str, Any]) -> tuple[Any, Callable[[], Any]] | None:
    """(the parameter, a step of Adam(fused=True)); None where PyTorch is absent."""
    torch = peer.torch_or_none()
    if torch is None:
        return None
    param, grad = (
        torch.from_numpy(np.array(bench.backend.to_numpy(arrays[n]))).to(peer.device(bench))
        for n in ("param", "grad")
    )
    param = torch.nn.Parameter(param)
    param.grad = grad
    return param, torch.optim.Adam([param], lr=RATE, fused=True).step


def _one_adam_step(
    bench: Bench, arrays: dict[str, Any], run: Callable[[], None], param: Any, step: Any
) -> dict[str, Any]:
    run()
    step()
    ours = bench.backend.to_numpy(arrays["param"])
    gap = float(abs(ours - param.detach().cpu().numpy()).max())
    if not gap <= 1e-6:
        raise AssertionError(f"after one step the parameters differ by {gap:.1e}")
    return {"largest difference after a step": gap}


def _copy(bench: Bench, target: Any, source: Any) -> None:
    if bench.dry:
        np.copyto(target, source)
        return
    import cupy

    cupy.copyto(target, source)


def convolution_speed(bench: Bench) -> dict[str, Any]:
    """The 11 shapes of ResNet-18 × three operations × {bfloat16, TF32} beside PyTorch's."""
    torch = peer.torch_or_none()
    result: dict[str, Any] = {"batch": bench.pick(512, 1)}
    if torch is None:
        result["torch"] = "absent"
    else:
        result["their switches"] = peer.switches(torch, tf32=True)
    result["our switches"] = "tf32() for float32; cuDNN's first choice of plan, tuned: autotune()"
    until = time.monotonic() + bench.pick(TUNED_FOR, math.inf)
    for dtype in bench.available("bfloat16", "tf32"):
        rows: dict[str, Any] = {}
        for shape in SHAPES["resnet18"][: bench.pick(None, 1)]:
            rows |= _one_shape(bench, torch, dtype, until, *shape)
            bench.note(result | {dtype: rows})
        result[dtype] = rows | _summary(rows)
    every = {f"{d} {n}": row for d in ("bfloat16", "tf32") for n, row in result.get(d, {}).items()
             if isinstance(row, dict)}  # fmt: skip
    result["tuned"] = f"{sum('tuned seconds' in row for row in every.values())} of {len(every)}"
    result |= (summary := _summary(every))
    return result | aims(summary, geometric_mean=0.95, lowest=0.8,
                         tuned_geometric_mean=0.95, tuned_lowest=0.8)  # fmt: skip


def _summary(rows: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for kind in ("", "tuned "):
        if ratios := [row[f"{kind}ratio"] for row in rows.values() if f"{kind}ratio" in row]:
            found[f"{kind}geometric mean"] = math.exp(sum(map(math.log, ratios)) / len(ratios))
            found[f"{kind}lowest"] = min(ratios)
    return found


def _one_shape(
    bench: Bench, torch: Any, dtype: str, until: float, side: int, inputs: int, outputs: int,
    kernel: int, stride: int, padding: int,
) -> dict[str, Any]:  # fmt: skip
    batch, side = bench.pick((512, side), (1, 6))
    out = (side + 2 * padding - kernel) // stride + 1
    x = bench.images(batch, side, side, inputs, dtype=dtype)
    w = bench.normal(kernel, kernel, inputs, outputs, dtype=dtype)
    g = bench.images(batch, out, out, outputs, dtype=dtype)
    ours = _our_runs(bench, dtype, x, w, g, stride, padding)
    theirs = _torch_runs(bench, torch, dtype, x, w, g, stride, padding) if torch else {}
    rows = {}
    for name, run in ours.items():
        kinds = {"": False} | ({"tuned ": True} if time.monotonic() < until else {})
        sides = {kind: _by_the_clock(run, wanted) for kind, wanted in kinds.items()}
        rows[f"{side} {inputs}-{outputs} {kernel}x{kernel}/{stride} {name}"] = _one_row(
            bench, name, dtype, sides, theirs.get(name)
        )
    return rows


def _one_row(
    bench: Bench, name: str, dtype: str, ours: dict[str, Callable[[], Any]], theirs: Any
) -> dict[str, Any]:
    """Our ways in turns with theirs, if there is one, after the results were compared."""
    gaps = [_same(bench, name, dtype, run, theirs) for run in ours.values() if theirs]
    row = {"largest relative difference": largest(gaps)} if gaps else {}
    times = bench.medians(*ours.values(), *([theirs] if theirs else []), inner=10)
    for kind, seconds in zip(ours, times, strict=False):
        row[f"{kind}seconds"] = seconds
        if theirs:
            row |= {"torch seconds": times[-1], f"{kind}ratio": times[-1] / seconds}
    return row


def _by_the_clock(run: Callable[[], Any], wanted: bool) -> Callable[[], Any]:
    def call() -> Any:
        with autotune(wanted):
            return run()

    return call


def _our_runs(
    bench: Bench, dtype: str, x: Any, w: Any, g: Any, stride: int, padding: int
) -> dict[str, Callable[[], Any]]:  # fmt: skip
    static = {**CONV, "stride": (stride,) * 2, "padding": ((padding,) * 2,) * 2}
    x, w, g = (bench.place(a, dtype) for a in (x, w, g))
    run, size, kernel = bench.backend.kernels, x.shape[1:3], w.shape[:2]

    def within(function: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            with tf32() if dtype == "tf32" else nullcontext():
                return function()

        return call

    return {
        "forward": within(lambda: run["conv2d"](bench.xp, x, w, **static)),
        "input gradient": within(
            lambda: run["conv2d_input_grad"](bench.xp, g, w, size=size, **static)),
        "weight gradient": within(
            lambda: run["conv2d_weight_grad"](bench.xp, x, g, kernel=kernel, **static)),
    }  # fmt: skip


def _torch_runs(
    bench: Bench, torch: Any, dtype: str, x: Any, w: Any, g: Any, stride: int, padding: int
) -> dict[str, Callable[[], Any]]:  # fmt: skip
    kind = "float32" if dtype == "tf32" else dtype
    x, g = (peer.images(bench, a, kind) for a in (x, g))
    w = peer.weights(w).to(x.device, x.dtype).contiguous(memory_format=torch.channels_last)

    def backward(*wanted: bool) -> Callable[[], Any]:
        return lambda: torch.ops.aten.convolution_backward(
            g, x, w, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [*wanted, False]
        )[wanted.index(True)]

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, w, stride=stride, padding=padding),
        "input gradient": backward(True, False), "weight gradient": backward(False, True),
    }  # fmt: skip


def _same(bench: Bench, name: str, dtype: str, ours: Any, theirs: Any) -> float:
    whole = name == "weight gradient"
    order = (2, 3, 1, 0) if whole else (0, 2, 3, 1)
    got, wanted = ours(), theirs()
    if not whole:  # a few of the images: the host would take seconds for all
        got, wanted = got[-4:], wanted[-4:]
    gap = bench.difference(got, wanted.float().permute(order).cpu().numpy())
    if not gap <= 2 * LIMITS[dtype]:
        raise AssertionError(f"{name} in {dtype} differs from PyTorch's by {gap:.1e}")
    return gap
