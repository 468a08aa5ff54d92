"""One training step: forward, backward and update of a model in place."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from agnostic_dl import backends
from agnostic_dl.autograd import Tensor, tape
from agnostic_dl.autograd.tensor import lift
from agnostic_dl.backend import Backend
from agnostic_dl.errors import GradientError, ShapeError, UsageError
from agnostic_dl.nn import losses
from agnostic_dl.nn.module import Module
from agnostic_dl.nn.randomness import random_stream
from agnostic_dl.optim.engine import Engine, EngineState, as_engine
from agnostic_dl.primitives import library_of, operations
from agnostic_dl.train import health
from agnostic_dl.train.capture import Capture
from agnostic_dl.train.precision import Precision, is_finite_loss, unscaled
from agnostic_dl.train.turn import Turn


class TrainStep:
    """A callable ``step(x, y)`` that updates its model once; made by :func:`train_step`."""

    def __init__(
        self, model: Module, loss: losses.Loss, engine: Engine, seed: int, check: bool = False,
        capture: bool = True, precision: str | None = None,
    ) -> None:  # fmt: skip
        self.model, self.loss, self.engine, self.seed = model, loss, engine, seed
        self.precision = Precision(precision)
        #: Whether every step is held to be finite before it changes anything; synchronises.
        self.check = check
        if not model.initialized:
            model.init(seed, missing_only=True)
        arrays = self._arrays()
        #: An array of the model's library, by which its backend is found at every step.
        self._sample = _empty_like(arrays)
        #: The engine's state, but for the slots while a plan keeps them; see :attr:`state`.
        self.position: EngineState = {}
        self.position = self._with_scale(engine.init(arrays))
        self._capture = Capture(self) if capture else None
        #: Threads take turns: the model, the count and a plan's places are one.
        self._turn = Turn()

    def _arrays(self) -> dict[str, Any]:
        return {name: p.data for name, p in self.model.parameters().items()}

    @property
    def state(self) -> EngineState:
        """The engine's state: the number of steps, the schedules' and the optimizers'.

        And the loss's scale ("scaling") where the precision needs one.
        """
        if self._capture is None:
            return self.position
        return {**self.position, "slots": self._capture.slots(self.position["slots"])}

    @state.setter
    def state(self, state: EngineState) -> None:
        state = self._with_scale(state)
        if self._capture is None:
            self.position = state
        elif self._capture.handed_out(state["slots"]):  # only the schedules or the count are new
            self.position = {**state, "slots": self.position["slots"]}
        else:
            self._capture.release()
            self.position = state

    def require_precision(self) -> None:
        """Refuse a backend and a model that cannot be trained in the step's precision."""
        self.precision.check(self.backend, self._arrays())

    def _with_scale(self, state: EngineState) -> EngineState:
        """The state with a scale of the loss if, and only if, the precision needs one.

        An engine of one's own may make a state that knows nothing of it: then the scale stays.
        """
        if self.precision.scaling is None:
            return {name: part for name, part in state.items() if name != "scaling"}
        kept = self.position["scaling"] if self.position else self.precision.scaling.start()
        return {"scaling": kept, **state}

    def advance(self) -> None:
        """Count a step that a plan has made."""
        self.position = self._after_clean({**self.position, "step": self.position["step"] + 1})

    def _after_clean(self, state: EngineState) -> EngineState:
        scaling = self.precision.scaling
        if scaling is None:
            return state
        return {**state, "scaling": scaling.after_clean(state["scaling"])}

    def skips(self, loss: Any) -> bool:
        """Leave out a step with gradients that are not finite, and lower the loss's scale.

        False: it is not the scale's fault, which stays as it is.
        """
        scaling = self.precision.scaling
        if scaling is None or (self.check and not is_finite_loss(loss)):
            return False
        lowered = scaling.after_overflow(self.position["scaling"])
        if lowered["scale"] < scaling.least:
            return False
        self.position = {**self.position, "scaling": lowered}
        return True

    def scale(self) -> Any:
        """The scale of the next loss as a 0-d array; None: it has none."""
        if self.precision.scaling is None:
            return None
        backend = self.backend
        value, dtype = self.position["scaling"]["scale"], backend.dtypes["float32"]
        return backend.xp.asarray(value, dtype=dtype, device=backend.device)

    def take_back(self, slots: dict[str, Any]) -> None:
        """Keep the optimizers' state here again, not in a plan."""
        self.position = {**self.position, "slots": slots}

    @property
    def backend(self) -> Backend:
        """The backend that holds the model."""
        return backends.backend_of(self._sample)

    @property
    def captured(self) -> bool:
        """Whether a plan makes the steps; False before the first, and where they are eager."""
        return self._capture is not None and self._capture.active

    @property
    def count(self) -> int:
        """How many steps have been made."""
        return int(self.position["step"])

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.engine.learning_rate(self.position)

    def __call__(self, x: Any, y: Any) -> Any:
        """One update on the batch (x, y); the loss before it, a 0-d array, not synchronised."""
        return self.run(x, y)[0]

    def run(self, x: Any, y: Any) -> tuple[Any, Any]:
        """As a call, but returns (loss, the model's outputs); a step that fails changes nothing."""
        backend = self.backend
        x, y = backend.asarray(x), backend.asarray(y)
        if y is x:  # the recorder tells arrays apart by identity
            y = backend.xp.asarray(x, copy=True)
        with self._turn.lock, self.overflowing():
            return self._run(backend, x, y)

    def overflowing(self) -> AbstractContextManager[Any]:
        """In this context an overflow is no reason to warn, where a scaled loss may have one."""
        return nullcontext() if self.precision.scaling is None else self.backend.overflowing()

    def _run(self, backend: Backend, x: Any, y: Any) -> tuple[Any, Any]:
        if self._capture is not None:
            found = self._capture.run(backend, x, y)
            if found is not None:
                return found
        return self._eagerly(backend, x, y)

    def _eagerly(self, backend: Backend, x: Any, y: Any) -> tuple[Any, Any]:
        buffers = [(buffer, buffer.data) for buffer in self.model.buffers().values()]
        scale = self.scale()
        try:
            loss, outputs, grads = self.scaled_gradients(x, y, scale)
            if self.check and self.loss is losses.cross_entropy:
                health.require_labels(outputs, y)
            if not self._holds(x, loss, grads):
                _put_back(buffers)
                return backend.asarray(loss), outputs
            grads = grads if scale is None else unscaled(grads, scale)
            new, state = self.engine.update(self._arrays(), grads, self.state)
            state = self._after_clean(self._with_scale(state))
        except BaseException:
            _put_back(buffers)
            raise
        self.state, parameters = state, self.model.parameters()
        for name in grads:
            parameters[name].data = new[name]
        return backend.asarray(loss), outputs

    def _holds(self, x: Any, loss: Any, grads: Mapping[str, Any]) -> bool:
        """Whether the step may be made; False: it is left out, and the loss's scale is lowered."""
        if self.precision.scaling is not None:
            trained = [g for n, g in grads.items() if self.engine.optimizer_for(n) is not None]
            if bool(health.all_finite(loss, trained)):
                return True
            if self.skips(loss):
                return False
        if self.check or self.precision.scaling is not None:
            with self._casting(), self.precision.explained(self.state):
                health.require_finite(self.model, x, loss, grads, self.seed, self.count + 1)
        return True

    def _casting(self) -> AbstractContextManager[Any]:
        if self.precision.name is None:
            return nullcontext()
        return self.precision.casting(self.backend, self.model)

    def gradients(self, x: Any, y: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Loss, outputs and gradients by parameter name, of a forward and a backward pass."""
        scale = self.scale()
        with self.overflowing():
            loss, outputs, grads = self._passes(x, y, scale)
            return loss, outputs, grads if scale is None else unscaled(grads, scale)

    def scaled_gradients(self, x: Any, y: Any, scale: Any) -> tuple[Any, Any, dict[str, Any]]:
        """As :meth:`gradients`, of the loss times a 0-d *scale*; None: of the loss itself."""
        return self.gradients(x, y) if scale is None else self._passes(x, y, scale)

    def _passes(self, x: Any, y: Any, scale: Any) -> tuple[Any, Any, dict[str, Any]]:
        if not self.model.training:
            self.model.train()
        parameters, widened = self.model.parameters(), self.precision.widened
        with self._casting():
            with random_stream(self.seed, self.count + 1), tape.recording():
                outputs = widened(self.model(x))
                loss = widened(self.loss(outputs, y))
            self.precision.widen_buffers(self.model)
            nodes = {name: p._edge[0] for name, p in parameters.items() if p._edge is not None}
            _check_loss(loss)
            xp = operations(library_of("train_step", (loss._value,))[1])
            seed = xp.ones_like(loss._value) if scale is None else scale
            found = tape.backprop([(loss._edge, seed)], xp, lift=lift, targets=list(nodes.values()))
        grads = {name: found[node] for name, node in nodes.items() if node in found}
        return loss._value, outputs._value, grads


def _put_back(buffers: list[tuple[Any, Any]]) -> None:
    for buffer, before in buffers:
        buffer.data = before


def _empty_like(arrays: dict[str, Any]) -> Any:
    if not arrays:
        raise UsageError("train_step: the model has no parameters, there is nothing to train")
    return library_of("train_step", tuple(arrays.values())[:1])[1].empty(())


def _check_loss(loss: Any) -> None:
    if not isinstance(loss, Tensor) or loss._edge is None:
        raise GradientError(
            "the loss does not depend on any parameter of the model: was it computed from plain "
            "arrays, or under no_grad?"
        )
    if tuple(loss.shape) != ():
        raise ShapeError(f"the loss must be 0-d, got shape {tuple(loss.shape)}: take its mean")


def train_step(
    model: Module, loss: str | losses.Loss, optimizer: Any, *, seed: int = 0,
    precision: str | None = None, check: bool = False, capture: bool = True,
) -> TrainStep:  # fmt: skip
    """Make the step ``step(x, y) -> loss`` that trains *model* in place.

    *loss*: a function (outputs, targets) → 0-d loss, or its name; *optimizer*: an optimizer or an
    Engine. The model is put into train mode, and initialised from *seed* if it is not yet; *seed*
    also feeds dropout. *precision*: None, the dtype of the parameters; "bfloat16" or "float16":
    products in that dtype, sums and parameters in float32 (and for float16 a scale of the loss that
    adapts itself: a step whose gradients overflow is left out). See docs/precision.md.
    *check*: raise NonFiniteError, with the layer, in the step in which the loss or a gradient is
    no longer finite, and DataError for labels beyond the outputs; this waits for the step, which a
    device may not want. *capture*: record the step on its first batches of a shape, and run it
    as the backend compiles it from then on; a step that cannot be captured runs eagerly and warns.
    """
    step = TrainStep(
        model, losses.get(loss), as_engine(optimizer), int(seed), check, capture, precision
    )
    step.require_precision()
    return step
