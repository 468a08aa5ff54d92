"""Convolution by cuDNN, through the graphs of nvidia-cudnn-frontend: an optional extra.

A plan is built once for each key (operation, shapes, dtype, epilogue, TF32, device, autotuning,
repeatable) and kept. cuDNN wants the weight as (O, kh, kw, C): it is transposed on the way. What
cuDNN refuses, or is not asked for (float64, groups), goes to the columns.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any, NamedTuple

from agnostic_dl_cupy.convolution import Geometry, outward, transpose
from agnostic_dl_cupy.precision import allows_tf32
from agnostic_dl_cupy.runtime import Runtime, aligned
from agnostic_dl_cupy.tuning import Tuner, autotunes

_DTYPES = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16"}
_FIRST, _SECOND, _OUT, _BIAS = 1, 2, 3, 4


class Spec(NamedTuple):
    """The key of a plan."""

    operation: str
    geometry: Geometry
    dtype: str
    bias: bool
    relu: bool
    tf32: bool
    device: int
    autotune: bool = False
    repeatable: bool = False


def frontend() -> Any:
    """The module `cudnn`, or None where the frontend or cuDNN itself is not installed."""
    try:
        import cudnn

        cudnn.backend_version()
    except Exception:  # without the library it is a RuntimeError, an OSError or an ImportError
        return None
    return cudnn


def build(cudnn: Any, spec: Spec, **target: Any) -> Any:
    """Build a spec's plan; *target*: a handle, or the properties of a device that is not here."""
    graph, out = describe(cudnn, spec, **target)
    shape = _dims(spec)[2]
    # Never inferred: versions differ in the layout that they infer.
    out.set_output(True).set_data_type(_dtype(cudnn, spec)).set_dim(shape)
    out.set_stride(channels_last(shape)).set_uid(_OUT)
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    if spec.dtype == "float32" and not spec.tf32:
        graph.deselect_numeric_notes([cudnn.numerical_note.TENSOR_CORE])
    if spec.autotune:  # sums in a short type would win by the clock
        graph.deselect_numeric_notes([cudnn.numerical_note.REDUCED_PRECISION_REDUCTION])
    if spec.repeatable:  # atomic additions come in another order each time
        graph.deselect_numeric_notes([cudnn.numerical_note.NONDETERMINISTIC])
    graph.check_support()
    graph.build_plans()
    return graph


def describe(cudnn: Any, spec: Spec, **target: Any) -> tuple[Any, Any]:
    """The graph of a spec and its last tensor."""
    real = cudnn.data_type.FLOAT
    graph = cudnn.pygraph(
        io_data_type=_dtype(cudnn, spec), intermediate_data_type=real, compute_data_type=real,
        **target,
    )  # fmt: skip
    first, second, _ = _dims(spec)
    operation = {
        "forward": graph.conv_fprop, "input_grad": graph.conv_dgrad, "weight_grad": graph.conv_wgrad
    }[spec.operation]  # fmt: skip
    out = operation(
        _tensor(graph, "first", first, _FIRST), _tensor(graph, "second", second, _SECOND),
        **_window(spec.geometry),
    )  # fmt: skip
    if spec.bias:
        bias = _tensor(graph, "bias", [1, spec.geometry.out[3], 1, 1], _BIAS)
        out = graph.bias(input=out, bias=bias)
    return graph, graph.relu(input=out) if spec.relu else out


def _window(geo: Geometry) -> dict[str, list[int]]:
    before, after = ([pair[k] for pair in geo.padding] for k in (0, 1))
    return {
        "pre_padding": before, "post_padding": after,
        "stride": list(geo.stride), "dilation": list(geo.dilation),
    }  # fmt: skip


def _dims(spec: Spec) -> tuple[list[int], list[int], list[int]]:
    """Both inputs' and the output's sizes in cuDNN's order (N, C, H, W)."""
    geo = spec.geometry
    image, out = ([s[0], s[3], s[1], s[2]] for s in (geo.image, geo.out))
    weight = [geo.weight[3], geo.weight[2], geo.weight[0], geo.weight[1]]
    return {
        "forward": (image, weight, out),
        "input_grad": (out, weight, image),
        "weight_grad": (image, out, weight),
    }[spec.operation]


def channels_last(dims: list[int]) -> list[int]:
    """The strides of (N, C, H, W) whose channels are the innermost in memory."""
    _, c, h, w = dims
    return [c * h * w, 1, c * w, c]


def _tensor(graph: Any, name: str, dims: list[int], uid: int) -> Any:
    return graph.tensor(name=name, dim=dims, stride=channels_last(dims), uid=uid)


def _dtype(cudnn: Any, spec: Spec) -> Any:
    return getattr(cudnn.data_type, _DTYPES[spec.dtype])


class Graphs:
    """The three operations on one runtime, with their plans."""

    def __init__(self, runtime: Runtime, cudnn: Any) -> None:
        self.runtime, self.cudnn = runtime, cudnn
        #: Whether plans are to give the same bits in each run.
        self.repeatable = False
        self.plans: dict[tuple[Spec, int], Any] = {}
        self._tuner = Tuner(runtime, cudnn)
        #: By thread: the handle, and the stream that it is set to.
        self._handles: dict[int, tuple[Any, int]] = {}
        self._workspaces: dict[tuple[int, int], list[Any]] = {}

    def forward(
        self, geo: Geometry, x: Any, weight: Any, bias: Any = None, *, relu: bool = False
    ) -> Any:
        """The convolution, with bias and rectifier in the same kernel if asked for."""
        spec = self._spec("forward", geo, x, bias is not None, relu)
        if self._plan(spec) is None:
            return NotImplemented
        out = self.runtime.empty(geo.out, x.dtype)
        self._execute(spec, x, outward(self.runtime, weight), out, bias)
        return out

    def input_grad(self, geo: Geometry, g: Any, weight: Any) -> Any:
        spec = self._spec("input_grad", geo, g)
        if self._plan(spec) is None:
            return NotImplemented
        out = self.runtime.empty(geo.image, g.dtype)
        self._execute(spec, g, outward(self.runtime, weight), out)
        return out

    def weight_grad(self, geo: Geometry, x: Any, g: Any) -> Any:
        spec = self._spec("weight_grad", geo, x)
        if self._plan(spec) is None:
            return NotImplemented
        out = self.runtime.empty((geo.weight[3], geo.inner), x.dtype)
        self._execute(spec, x, g, out)
        return transpose(self.runtime, out).reshape(geo.weight)

    def _spec(
        self, operation: str, geo: Geometry, like: Any, bias: bool = False, relu: bool = False
    ) -> Spec:
        name = like.dtype.name
        tf32 = name == "float32" and allows_tf32()
        tried = autotunes() and not self.repeatable  # another plan may win the next time
        device, repeatable = self.runtime.device, self.repeatable
        return Spec(operation, geo, name, bias, relu, tf32, device, tried, repeatable)

    def _plan(self, spec: Spec) -> Any:
        """The plan of a spec for this thread's handle, or None where cuDNN has none."""
        if spec.dtype not in _DTYPES or spec.geometry.groups != 1:
            return None
        key = spec, threading.get_ident()
        if key not in self.plans:
            self.plans[key] = self._build(spec)
        return self.plans[key]

    def _build(self, spec: Spec) -> Any:
        try:
            with self.runtime.current():
                return build(self.cudnn, spec, handle=self._handle())
        except self.cudnn.cudnnGraphNotSupportedError:
            return None
        except RuntimeError as error:  # what else may go wrong: the columns can do without it
            warnings.warn(
                f"cuDNN could not build a plan, the convolution goes by columns: {spec}: {error}",
                stacklevel=2,
            )
            return None

    def _here(self) -> tuple[int, int]:
        return threading.get_ident(), self.runtime.stream()

    def _handle(self) -> Any:
        """This thread's handle, set to the current stream: plans are its own, of any stream."""
        thread, stream = self._here()
        handle, before = self._handles.get(thread, (None, None))
        if handle is None:
            handle = self.cudnn.create_handle()
        if stream != before:
            self.cudnn.set_stream(handle=handle, stream=stream)
            self._handles[thread] = handle, stream
        return handle

    def _execute(self, spec: Spec, first: Any, second: Any, out: Any, bias: Any = None) -> None:
        graph, pointer = self._plan(spec), self.runtime.pointer
        given = {_FIRST: first, _SECOND: second, _BIAS: bias}
        # Batches and parameters may be views of larger arrays, at any of their elements.
        arrays = {k: aligned(self.runtime, a) for k, a in given.items() if a is not None}
        arrays[_OUT] = out
        pointers = {uid: pointer(array) for uid, array in arrays.items()}

        def run(workspace: Any) -> None:
            graph.execute(pointers, pointer(workspace), handle=self._handle())

        with self.runtime.current():
            if spec.autotune:
                self._tuner.settle((spec, threading.get_ident()), graph, run)
            run(self._workspace(graph.get_workspace_size()))

    def _workspace(self, size: int) -> Any:
        """This thread's and stream's scratch memory: as much as the largest plan so far needs.

        Smaller ones are kept as well: graphs that were captured with them still write there.
        """
        kept = self._workspaces.setdefault(self._here(), [])
        if not kept or kept[-1].size < size:
            kept.append(self.runtime.kept(size))
        return kept[-1]
