"""The plan of a program on a CUDA device: some eager runs, then one graph, replayed."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections import Counter
from collections.abc import Mapping
from typing import Any

from agnostic_dl.extend import (
    CHAIN,
    CaptureWarning,
    Instruction,
    Literal,
    Program,
    UsageError,
    Value,
)
from agnostic_dl_cupy.codegen import ChainKernel
from agnostic_dl_cupy.convolution import weights_stay
from agnostic_dl_cupy.graph.passes import in_place, prepared, sources

#: Eager runs before the capture: they compile kernels, choose plans and fill the memory pool.
WARM_UP = 2


class _Held:
    """What a plan has on the device, apart from the plan for the sake of its finalizer.

    Results and graph are given up first, the device last, which then empties the pool that they lay
    in: in a plan's own attributes it would be up to Python which goes first.
    """

    def __init__(self, device: Any) -> None:
        self.device, self.graph = device, None
        self.found: Mapping[str, Any] = {}

    def release(self) -> None:
        self.graph, self.found = None, {}
        self.device = None


class GraphPlan:
    """A program with its state, its inputs and its results at fixed places on the device.

    *device*: a :class:`CudaDevice`, or what stands for one; *like*: a plan whose state and memory
    this one shares. A program that the device cannot capture runs eagerly, and `reason` says why.
    Threads take turns: there is one place for each input and each result.
    """

    def __init__(self, program: Program, device: Any, like: GraphPlan | None = None) -> None:
        self.program = program
        self._held = _Held(device if like is None else like.device)
        weakref.finalize(self, self._held.release).atexit = False
        self._turn: Any = threading.RLock() if like is None else like._turn
        self._code = prepared(program, self.device.rewrites)
        self._kernels = {
            k: ChainKernel(i, self._code.values)
            for k, i in enumerate(self._code.code) if i.op == CHAIN
        }  # fmt: skip
        self._in_place, self._sources = in_place(self._code), sources(self._code)
        #: By thread: each has handles of its own of the libraries, to be made before a capture.
        self._runs: Counter[int] = Counter()
        #: Why it runs eagerly; None: it does not, or not for long.
        self.reason: str | None = None
        self._state: dict[str, Any] = {} if like is None else like._state
        for name in program.state:
            if name not in self._state:
                self._state[name] = self.device.place(self._value(name))
        self._inputs, self._vectors = self._places()

    @property
    def device(self) -> Any:
        """The stream and the memory that it runs in."""
        return self._held.device

    def _value(self, name: str) -> Value:
        return self.program.values[self.program.inputs[name]]

    def _places(self) -> tuple[dict[str, Any], dict[str, tuple[Any, list[str]]]]:
        """The fixed places of the inputs; the numbers of one dtype lie in one vector."""
        names = [name for name in self.program.inputs if name not in self._state]
        vectors: dict[str, tuple[Any, list[str]]] = {}
        for name in names:
            value = self._value(name)
            if value.shape == ():
                vectors.setdefault(value.dtype, (None, []))[1].append(name)
        places: dict[str, Any] = {}
        for dtype, (_, members) in vectors.items():
            vector = self.device.place(Value((len(members),), dtype))
            vectors[dtype] = vector, members
            places |= {name: vector[k : k + 1].reshape(()) for k, name in enumerate(members)}
        return places | {
            name: self.device.place(self._value(name)) for name in names if name not in places
        }, vectors

    # -- the protocol ------------------------------------------------------------------------------

    def load(self, state: Mapping[str, Any]) -> None:
        """Copy state in, by name of the input."""
        with self._turn, self.device.working():
            for name, array in state.items():
                self.device.copy(self._state[name], array)

    def read(self, name: str) -> Any:
        """A copy of one array of the state."""
        with self._turn:
            with self.device.working():
                pass  # what follows waits for the steps that are queued
            return self.device.fresh(self._state[name])

    def rest(self) -> None:
        """A graph's places are fixed for as long as it lives: nothing can be given back."""

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run once; where the guard is false, the state stays as it is."""
        missing = self._inputs.keys() - inputs.keys()
        if missing:
            raise UsageError(f"the plan needs the inputs {', '.join(sorted(missing))} as well")
        with self._turn:
            with self.device.working():
                self._feed(inputs)
                self._step()
            found = self._held.found
            return {name: self.device.fresh(found[name]) for name in self.program.results}

    def _feed(self, inputs: Mapping[str, Any]) -> None:
        for vector, members in self._vectors.values():
            if all(isinstance(inputs[name], (int, float)) for name in members):
                self.device.upload(vector, [inputs[name] for name in members])
                continue
            for name in members:
                self._feed_one(name, inputs[name])
        for name, place in self._inputs.items():
            if place.shape != ():
                self.device.copy(place, inputs[name])

    def _feed_one(self, name: str, value: Any) -> None:
        place = self._inputs[name]
        if isinstance(value, (int, float)):
            self.device.upload(place.reshape((1,)), [value])
        else:
            self.device.copy(place, value)

    # -- running -----------------------------------------------------------------------------------

    def _step(self) -> None:
        thread = threading.get_ident()
        if self._held.graph is None and self.reason is None and self._runs[thread] >= WARM_UP:
            self._capture()
        self._runs[thread] += 1
        if self._held.graph is not None:
            self.device.replay(self._held.graph)
        else:
            self._held.found = self._execute()

    def _capture(self) -> None:
        try:
            # What the graph found is kept, or its memory would be given to the next array.
            self._held.graph, self._held.found = self.device.capture(self._execute)
        except Exception as error:
            self.reason = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"a program cannot be captured as a CUDA graph and runs eagerly: {self.reason}",
                CaptureWarning,
                stacklevel=4,
            )

    def _execute(self) -> dict[str, Any]:
        """Queue every instruction, on the fixed places; the results, which lie in the pool."""
        code = self._code
        held: dict[int, Any] = dict(code.constants)
        held |= {n: (self._state | self._inputs)[name] for name, n in code.inputs.items()}
        last = {n: k for k, i in enumerate(code.code) for n in (*i.outs, *i.reads)}
        kept = {*code.outputs.values(), *code.inputs.values(), *code.constants}
        # Values are made once and never written to: state is written over after its last reader.
        with weights_stay():
            for place, instruction in enumerate(code.code):
                made = self._made(place, instruction, held)
                held.update(zip(instruction.outs, made, strict=True))
                for number in (*instruction.reads, *instruction.outs):
                    if last[number] == place and number not in kept:
                        held.pop(number, None)
        results = {name: held[code.outputs[name]] for name in code.results}
        results = {n: self._apart(code.outputs[n], array) for n, array in results.items()}
        self._write_back(held)
        return results

    def _made(self, place: int, instruction: Instruction, held: dict[int, Any]) -> Any:
        operands = tuple(i.value if isinstance(i, Literal) else held[i] for i in instruction.ins)
        if place not in self._kernels:
            return self.device.apply(instruction, operands)
        outs = [
            held[self._in_place[n]] if n in self._in_place
            else self.device.empty(self._code.values[n])
            for n in instruction.outs
        ]  # fmt: skip
        self.device.launch(self._kernels[place], list(operands), outs)
        return outs

    def _apart(self, number: int, array: Any) -> Any:
        """An array that the write-back leaves alone."""
        code = self._code
        source = self._sources.get(number, number)
        if source not in code.inputs.values():
            return array
        copy = self.device.empty(code.values[number])
        self.device.copy(copy, array)
        return copy

    def _write_back(self, held: dict[int, Any]) -> None:
        """Bring to its place what of the new state was not made there."""
        code, pairs = self._code, []
        for name, to in code.donations.items():
            number = code.outputs[name]
            if self._in_place.get(number, number) != code.inputs[to]:
                pairs.append((self._state[to], number))
        # All that looks at old state is copied before any of it is written over.
        arrays = [self._unless_made(number, held[number]) for _, number in pairs]
        for (place, _), array in zip(pairs, arrays, strict=True):
            self.device.copy(place, array)

    def _unless_made(self, number: int, array: Any) -> Any:
        old = self._sources.get(number, number) in self._code.inputs.values()
        return self._apart(number, array) if old else array
