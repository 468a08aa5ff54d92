"""Module: a part of a model, made of parameters, buffers and other modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from agnostic_dl import backends, random
from agnostic_dl.errors import ShapeError, UsageError
from agnostic_dl.nn.parameter import Buffer, Parameter

M = TypeVar("M", bound="Module")


class Module:
    """Base of layers and models: a subclass assigns its parts in `__init__`, computes in `forward`.

    Parts are found among the attributes, also inside lists, tuples and dicts; their dotted names
    ("conv1.weight") are those of the attributes and positions. A model that has not been
    initialised initialises itself at the first call, with seed 0.
    """

    training: bool = True
    #: Dotted name inside the model that this is a part of; empty for the model itself.
    path: str = ""
    _ready: bool = False

    def forward(self, *args: Any, **options: Any) -> Any:
        """Compute the output; to be written by the subclass."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Compute the output of :meth:`forward`."""
        if not self._ready:
            self._prepare()
        return self.forward(*args, **options)

    def _prepare(self) -> None:
        if any(not p.initialized for p in self._stateful().values()):
            self.init(0, missing_only=True)
        self._name_parts()
        for _, module in self.named_modules():
            module._ready = True

    def _name_parts(self) -> None:
        for name, module in self.named_modules():
            module.path = name

    # -- parts --------------------------------------------------------------------------------

    def children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below this one, by name."""
        for name, value in vars(self).items():
            yield from _modules_in(name, value)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, by dotted name."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def _stateful(self) -> dict[str, Parameter]:
        """Every parameter and buffer by dotted name; one that is shared goes by its first name."""
        found: dict[str, Parameter] = {}
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    found[f"{prefix}.{name}" if prefix else name] = value
        return found

    def parameters(self) -> dict[str, Parameter]:
        """Dotted name → Parameter, for all that training changes by gradients."""
        return {n: p for n, p in self._stateful().items() if not isinstance(p, Buffer)}

    def buffers(self) -> dict[str, Buffer]:
        """Dotted name → Buffer, such as running statistics."""
        return {n: p for n, p in self._stateful().items() if isinstance(p, Buffer)}

    # -- values -------------------------------------------------------------------------------

    def init(self: M, seed: int = 0, *, missing_only: bool = False) -> M:
        """Draw all values from *seed*, on the current backend; the same bits on every backend."""
        backend, key = backends.get_backend(), random.fold(random.key(seed), "init")
        for name, parameter in self._stateful().items():
            if not (missing_only and parameter.initialized):
                parameter.initialize(random.fold(key, name), backend)
        return self

    @property
    def initialized(self) -> bool:
        """Whether every parameter and buffer has values."""
        return all(p.initialized for p in self._stateful().values())

    def state_dict(self) -> dict[str, Any]:
        """Dotted name → array, for every parameter and buffer."""
        return {name: parameter.data for name, parameter in self._stateful().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the values of every parameter and buffer from *state*: host data or arrays.

        Names and shapes must be this model's; otherwise nothing is changed.
        """
        own = self._stateful()
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise UsageError(
                f"the state is of another model: missing {missing or 'nothing'}, not in this model "
                f"{unknown or 'nothing'}"
            )
        current = backends.get_backend()
        arrays = {n: parameter.as_values(state[n], current) for n, parameter in own.items()}
        for name, parameter in own.items():
            if (shape := tuple(arrays[name].shape)) != parameter.shape:
                raise ShapeError(f"{name}: expected shape {parameter.shape}, got {shape}")
        for name, parameter in own.items():
            parameter.data = arrays[name]

    def astype(self: M, dtype: str) -> M:
        """Convert every floating parameter and buffer to the dtype of that name."""
        for parameter in self._stateful().values():
            parameter.cast(dtype)
        return self

    # -- mode ---------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Switch to training: dropout drops, batch norm uses and tracks the batch's statistics."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Switch to evaluation: everything is deterministic and nothing is tracked."""
        return self.train(False)

    # -- words --------------------------------------------------------------------------------

    def label(self) -> str:
        """What to call this module in an error message."""
        kind = type(self).__name__
        return f"{kind} {self.path!r}" if self.path else kind

    def extra_repr(self) -> str:
        """The arguments to show between the parentheses."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"  {name}: " + repr(child).replace("\n", "\n  ") for name, child in self.children()
        ]
        inner = "\n" + "\n".join(lines) + "\n" if lines else self.extra_repr()
        return f"{type(self).__name__}({inner})"


def _modules_in(name: str, value: Any) -> Iterator[tuple[str, Module]]:
    if isinstance(value, Module):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _modules_in(f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _modules_in(f"{name}.{key}", item)
