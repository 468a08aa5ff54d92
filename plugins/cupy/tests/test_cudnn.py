"""Convolutions by cuDNN: the graphs, the keys of the plans, the layouts, by a stand-in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest

from agnostic_dl.primitives import PRIMITIVES
from agnostic_dl_cupy import blas, kernels, precision
from agnostic_dl_cupy.convolution import geometry, weights_stay
from agnostic_dl_cupy.cudnn_graphs import Graphs, Spec, build, frontend
from agnostic_dl_cupy.rehearsal import host
from agnostic_dl_cupy.rehearsal.cublas import FakeCublas
from agnostic_dl_cupy.rehearsal.cudnn import FakeCudnn

pytestmark = pytest.mark.skipif(host.missing() is not None, reason=str(host.missing()))

PLAIN: dict[str, Any] = {
    "stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1
}  # fmt: skip
UNEVEN = {"stride": (2, 3), "padding": ((0, 2), (1, 0)), "dilation": (2, 1), "groups": 1}


class Bench:
    def __init__(self, **options: Any) -> None:
        self.runtime, self.cudnn, self.cublas = (
            host.HostRuntime(),
            FakeCudnn(**options),
            FakeCublas(),
        )
        self.graphs = Graphs(self.runtime, self.cudnn)
        self.kernels = kernels.bind(self.runtime, blas.Blas(self.runtime, self.cublas), self.graphs)

    def built(self) -> int:
        return self.cudnn.calls.count("build")


@pytest.fixture(autouse=True)
def without_tf32(monkeypatch):
    monkeypatch.delenv(precision.VARIABLE, raising=False)


def normal(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


def same(bench: Bench, name: str, *arrays: Any, **static: Any) -> None:
    got = bench.kernels[name](xp, *arrays, **static)
    wanted = PRIMITIVES[name].forward(xp, *arrays, **static)
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * max(abs(wanted).max(), 1))


@pytest.mark.parametrize("refuses", [False, True], ids=["taken", "refused"])
@pytest.mark.parametrize("static", [PLAIN, UNEVEN], ids=["plain", "uneven"])
def test_the_three_operations_equal_the_references(refuses, static):
    bench = Bench(refuses=refuses)
    x, w = normal(3, 9, 8, 4), normal(3, 2, 4, 6)
    same(bench, "conv2d", x, w, **static)
    g = normal(*PRIMITIVES["conv2d"].forward(xp, x, w, **static).shape)
    same(bench, "conv2d_input_grad", g, w, size=x.shape[1:3], **static)
    same(bench, "conv2d_weight_grad", x, g, kernel=w.shape[:2], **static)
    assert bench.built() == 3
    assert any(c[0] == "gemm" for c in bench.cublas.calls) == refuses
    assert any(c.startswith("execute") for c in bench.cudnn.calls) != refuses


def test_a_plan_is_built_once_for_each_key():
    bench, x, w = Bench(), normal(2, 5, 5, 3), normal(3, 3, 3, 4)

    def run(x: Any = x, w: Any = w, **static: Any) -> int:
        bench.kernels["conv2d"](xp, x, w, **{**PLAIN, **static})
        return bench.built()

    assert [run(), run(), run(stride=(2, 2)), run(stride=(2, 2))] == [1, 1, 2, 2]
    assert run(normal(4, 5, 5, 3)) == 3
    next_plan = bench.graphs._spec("forward", geometry(x.shape, w.shape, **PLAIN), x)
    for dtype in ("float16", "float16"):
        bench.graphs._plan(next_plan._replace(dtype=dtype))
    assert bench.built() == 4
    with precision.tf32():
        assert [run(), run()] == [5, 5]
    assert run() == 5
    assert bench.cudnn.calls.count("without TENSOR_CORE") == 3  # of the float32 plans without TF32
    bench.runtime.device = 1
    assert run() == 6


def test_a_weight_is_turned_once_while_weights_stay():
    bench, x, w = Bench(), normal(2, 5, 5, 3), normal(3, 3, 3, 4)
    g = normal(2, 5, 5, 4)

    def turned() -> int:
        before = len(bench.runtime.calls)
        same(bench, "conv2d", x, w, **PLAIN)
        same(bench, "conv2d_input_grad", g, w, size=(5, 5), **PLAIN)
        return [name for name, *_ in bench.runtime.calls[before:]].count("transpose")

    assert turned() == 2
    for _ in range(2):  # of what is written to in between nothing is remembered
        with weights_stay():
            assert [turned(), turned()] == [1, 0]
        w[...] *= 2
    assert turned() == 2


def test_refused_plans_are_not_tried_again():
    bench, x, w = Bench(refuses=True), normal(2, 5, 5, 3), normal(3, 3, 3, 4)
    for _ in range(3):
        same(bench, "conv2d", x, w, **PLAIN)
    assert bench.built() == 1


def test_what_goes_wrong_in_cudnn_is_said_and_the_columns_compute():
    bench = Bench(refuses=RuntimeError("CUDNN_STATUS_BAD_PARAM"))
    x, w = normal(2, 5, 5, 3), normal(3, 3, 3, 4)
    with pytest.warns(UserWarning, match=r"goes by columns: Spec.*CUDNN_STATUS_BAD_PARAM"):
        same(bench, "conv2d", x, w, **PLAIN)
    same(bench, "conv2d", x, w, **PLAIN)  # and is not said again


def test_groups_and_float64_go_to_the_columns():
    bench = Bench()
    same(bench, "conv2d", normal(2, 5, 5, 4), normal(3, 3, 2, 4), **{**PLAIN, "groups": 2})
    same(bench, "conv2d", normal(1, 5, 5, 2).astype("f8"), normal(3, 3, 2, 4).astype("f8"), **PLAIN)
    assert bench.built() == 0


@pytest.mark.parametrize("refuses", [False, True], ids=["fused", "refused"])
def test_bias_and_relu_in_the_same_plan_or_in_one_kernel_more(refuses):
    bench, x, w, b = Bench(refuses=refuses), normal(2, 5, 5, 3), normal(3, 3, 3, 4), normal(4)
    for relu in (False, True, True):
        same(bench, "conv2d_bias", x, w, b, relu=relu, **PLAIN)
    assert bench.built() == 2
    keys = {(s.operation, s.bias, s.relu) for s, *_ in bench.graphs.plans}
    assert keys == {("forward", True, False), ("forward", True, True)}
    launched = [name for name, *_ in bench.runtime.calls]
    assert launched.count("add_bias") == (3 if refuses else 0)
    assert "relu" not in launched


def test_a_bias_of_another_length_or_dtype_is_declined():
    bench, x, w = Bench(), normal(2, 5, 5, 3), normal(3, 3, 3, 4)
    for bias in (normal(3), normal(4).astype("f8"), normal(1, 4)):
        assert bench.kernels["conv2d_bias"](xp, x, w, bias, **PLAIN) is NotImplemented


def test_one_handle_and_plan_for_all_streams_of_a_thread_and_scratch_memory_that_grows():
    bench, x, w = Bench(), normal(2, 5, 5, 3), normal(3, 3, 3, 4)
    for stream in (0, 9, 9, 0):
        bench.runtime.current_stream = stream
        same(bench, "conv2d", x, w, **PLAIN)
    assert bench.cudnn.calls.count("handle") == bench.built() == 1
    with ThreadPoolExecutor(1) as other:
        other.submit(same, bench, "conv2d", x, w, **PLAIN).result()
    assert bench.cudnn.calls.count("handle") == bench.built() == 2
    executed = [c for c in bench.cudnn.calls if c.startswith("execute")]
    assert executed == [f"execute on stream {s}" for s in (0, 9, 9, 0, 0)]
    first = bench.graphs._workspace(50)
    assert bench.graphs._workspace(100) is first
    larger = bench.graphs._workspace(101)
    assert larger is not first
    # A graph that was captured with the first one still writes there.
    assert bench.graphs._workspaces[bench.graphs._here()] == [first, larger]


@pytest.mark.parametrize("which", ["x", "bias", "g"])
def test_views_that_begin_anywhere_are_copied_to_where_cudnn_reads(which):
    """Batches of an odd size, cut from an array of the device; parameters in a flat array."""
    bench = Bench()
    x, w, b = normal(3, 5, 5, 3)[1:], normal(3, 3, 3, 4), normal(5)[1:]
    assert x.ctypes.data % 16
    assert b.ctypes.data % 16
    if which == "x":
        same(bench, "conv2d", x, w, **PLAIN)
    elif which == "bias":
        same(bench, "conv2d_bias", x, w, b, relu=False, **PLAIN)
    else:
        g = normal(3, 5, 5, 1)[1:]
        assert g.ctypes.data % 16
        w = normal(3, 3, 3, 1)
        same(bench, "conv2d_input_grad", g, w, size=(5, 5), **PLAIN)
        same(bench, "conv2d_weight_grad", x, g, kernel=(3, 3), **PLAIN)
    assert any(c.startswith("execute") for c in bench.cudnn.calls)


@pytest.mark.parametrize("operation", ["forward", "input_grad", "weight_grad"])
def test_the_frontend_takes_our_graphs_as_far_as_it_goes_without_the_library(operation):
    """Its own classes, names and argument lists; tools/cudnn_plans.py goes on with the library."""
    cudnn = pytest.importorskip("cudnn", reason="nvidia-cudnn-frontend is not installed")
    if frontend() is not None:
        pytest.skip("cuDNN itself is here: it would be given a handle that is none")
    # Its later versions have a class for handles.
    handle = cudnn.Handle(1, 0, 0) if hasattr(cudnn, "Handle") else 1
    geo = geometry((4, 8, 8, 16), (3, 3, 16, 8), **PLAIN)
    fused = operation == "forward"
    for dtype in ("float32", "float16", "bfloat16"):
        spec = Spec(operation, geo, dtype, fused, fused, False, 0)
        with pytest.raises(RuntimeError, match="Unable to find symbol cudnnGetVersion"):
            build(cudnn, spec, handle=handle)  # validate is the first to ask for the library
    later = ("build_operation_graph", "create_execution_plans", "deselect_numeric_notes",
             "check_support", "build_plans", "get_execution_plan_count", "build_plan_at_index",
             "get_workspace_size", "execute")  # fmt: skip
    assert [name for name in later if not hasattr(cudnn.pygraph, name)] == []
    for name in ("heur_mode.A", "heur_mode.FALLBACK", "numerical_note.TENSOR_CORE",
                 "numerical_note.REDUCED_PRECISION_REDUCTION", "numerical_note.NONDETERMINISTIC",
                 "create_handle", "set_stream",
                 "cudnnGraphNotSupportedError"):  # fmt: skip
        kind, _, member = name.partition(".")
        assert hasattr(getattr(cudnn, kind), member or "__name__"), name
