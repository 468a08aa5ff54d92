"""A stand-in for the module `cudnn`: notes the graphs, and computes them by the references."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from agnostic_dl.extend import PRIMITIVES
from agnostic_dl_cupy.rehearsal.cublas import view


class NotSupported(Exception):
    """What the frontend raises where no engine takes a graph: no RuntimeError there either."""


class Tensor:
    """A tensor of a graph: sizes, strides and what it is computed from."""

    def __init__(self, source: Any = None, **given: Any) -> None:
        self.source, self.given = source, dict(given)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("set_"):
            raise AttributeError(name)

        def put(value: Any) -> Tensor:
            self.given[name.removeprefix("set_")] = value
            return self

        return put


class Plan(NamedTuple):
    """One way to compute a graph: how long it takes, where it fails, what is noted of it."""

    seconds: float = 1.0
    fails: str = ""
    note: str = ""
    workspace: int = 100


class Graph:
    """A graph; what is done with it is noted in the stand-in's list of calls."""

    def __init__(self, module: FakeCudnn, **target: Any) -> None:
        self.module, self.target = module, target
        self.tensors: list[Tensor] = []
        self.barred: set[str] = set()
        self.selected: int | None = None

    def _add(self, source: Any = None, **given: Any) -> Tensor:
        self.tensors.append(Tensor(source, **given))
        return self.tensors[-1]

    def tensor(self, **given: Any) -> Tensor:
        return self._add(**given)

    def conv_fprop(self, first: Tensor, second: Tensor, **window: Any) -> Tensor:
        return self._add(("conv2d", first, second, window))

    def conv_dgrad(self, first: Tensor, second: Tensor, **window: Any) -> Tensor:
        return self._add(("conv2d_input_grad", first, second, window))

    def conv_wgrad(self, first: Tensor, second: Tensor, **window: Any) -> Tensor:
        return self._add(("conv2d_weight_grad", first, second, window))

    def bias(self, *, input: Tensor, bias: Tensor) -> Tensor:
        return self._add(("bias", input, bias))

    def relu(self, *, input: Tensor) -> Tensor:
        return self._add(("relu", input))

    def validate(self) -> None:
        out = self.tensors[-1].given
        if not {"output", "data_type", "dim", "stride", "uid"} <= set(out):
            raise ValueError(f"the output's layout is left to be inferred: {sorted(out)}")

    def build_operation_graph(self) -> None:
        self.module.calls.append("build")

    def create_execution_plans(self, modes: Any) -> None:
        self.module.calls.append("plans")

    def deselect_numeric_notes(self, notes: Any) -> None:
        self.module.calls.extend(f"without {note}" for note in notes)
        self.barred.update(notes)

    def check_support(self) -> None:
        if self.module.refuses:
            raise self.module.refuses

    def build_plans(self) -> None:
        for index in range(self.get_execution_plan_count()):
            with suppress(NotSupported):
                return self.build_plan_at_index(index)
        raise NotSupported("no plan could be built")

    def get_execution_plan_count(self) -> int:
        return len(self.module.plans)

    def build_plan_at_index(self, index: int) -> None:
        """Build a plan and, as the frontend does, select it."""
        self.module.calls.append(f"plan {index}")
        plan = self.module.plans[index]
        if plan.fails == "build" or plan.note in self.barred:
            raise NotSupported(f"plan {index} cannot be built")
        self.selected = index

    def get_workspace_size(self) -> int:
        return self._plan().workspace

    def _plan(self) -> Plan:
        if self.selected is None:
            raise ValueError("no plan has been built")
        return self.module.plans[self.selected]

    def execute(self, pointers: dict[int, int], workspace: int, handle: Any) -> None:
        if handle != self.target["handle"]:
            raise ValueError("the plan was built for another handle")
        if any(pointer % 16 for pointer in pointers.values()):
            raise ValueError(f"an address is no multiple of 16 bytes: {pointers}")
        if self._plan().fails == "run":
            raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")
        self.module.now += self._plan().seconds
        self.module.ran.append(self.selected)
        self.module.calls.append(f"execute on stream {self.module.streams[handle]}")
        self._view(self.tensors[-1], pointers)[...] = self._value(self.tensors[-1], pointers)

    def _view(self, tensor: Tensor, pointers: dict[int, int]) -> Any:
        """The tensor's memory as (N, C, H, W)."""
        given = tensor.given
        dtype = self.target["io_data_type"]
        return view(pointers[given["uid"]], tuple(given["dim"]), tuple(given["stride"]), dtype)

    def _value(self, tensor: Tensor, pointers: dict[int, int]) -> Any:
        if tensor.source is None:
            found = self._view(tensor, pointers)
            return found if found.dtype == np.float64 else found.astype(np.float32)
        name, *inputs = tensor.source
        if name == "relu":
            return np.maximum(self._value(inputs[0], pointers), 0)
        first, second = (self._value(t, pointers) for t in inputs[:2])
        if name == "bias":
            return first + second
        return _convolve(name, first, second, inputs[2], self.tensors[-1].given["dim"])


def _convolve(name: str, first: Any, second: Any, window: Any, dims: Any) -> Any:
    """By the reference, from and to cuDNN's order of axes."""
    import array_api_compat.numpy as xp

    pairs = zip(window["pre_padding"], window["post_padding"], strict=True)
    static: dict[str, Any] = {
        "stride": tuple(window["stride"]), "dilation": tuple(window["dilation"]),
        "padding": tuple(pairs), "groups": 1,
    }  # fmt: skip
    if name == "conv2d_weight_grad":
        static["kernel"] = tuple(dims[2:])
    elif name == "conv2d_input_grad":
        static["size"] = tuple(dims[2:])
    image = (0, 2, 3, 1)
    weight = image if name == "conv2d_weight_grad" else (2, 3, 1, 0)
    arrays = (first.transpose(image), second.transpose(weight))
    out = PRIMITIVES[name].forward(xp, *arrays, **static)
    return out.transpose((3, 2, 0, 1) if name == "conv2d_weight_grad" else (0, 3, 1, 2))


class FakeCudnn:
    """The module's names that the plugin uses."""

    data_type = SimpleNamespace(FLOAT="float32", HALF="float16", BFLOAT16="bfloat16")
    heur_mode = SimpleNamespace(A="A", FALLBACK="FALLBACK")
    numerical_note = SimpleNamespace(
        TENSOR_CORE="TENSOR_CORE",
        REDUCED_PRECISION_REDUCTION="REDUCED_PRECISION_REDUCTION",
        NONDETERMINISTIC="NONDETERMINISTIC",
    )
    cudnnGraphNotSupportedError = NotSupported

    def __init__(
        self, *, refuses: bool | Exception = False, plans: Sequence[Plan] = (Plan(), Plan())
    ) -> None:
        self.refuses = NotSupported("no engine") if refuses is True else refuses
        #: What every graph has to choose from; the seconds that all runs took so far; who ran.
        self.plans, self.now, self.ran = plans, 0.0, list[int | None]()
        self.calls: list[str] = []
        self.streams: dict[int, int] = {}

    def create_handle(self) -> int:
        self.calls.append("handle")
        handle = len(self.streams) + 1
        self.streams[handle] = -1
        return handle

    def set_stream(self, *, handle: int, stream: int) -> None:
        self.streams[handle] = stream

    def pygraph(self, **target: Any) -> Graph:
        return Graph(self, **target)
