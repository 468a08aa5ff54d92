"""Checkpoints: one safetensors file that holds the arrays and, as JSON, everything else; no pickle.

The arrays are parameters and buffers ("model.<name>") and the optimizer's state
("optimizer.<parameter>.<name>"). The manifest describes the model, the optimizer and the run up to
its position inside an epoch. A save keeps the generation before it; a load verifies the digest
before it uses anything, and falls back to that generation with a warning.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnostic_dl import backends
from agnostic_dl.backend import Backend
from agnostic_dl.errors import (
    CheckpointError,
    CheckpointWarning,
    NonFiniteError,
    PluginError,
    ShapeError,
    UsageError,
)
from agnostic_dl.nn.describe import build, describe
from agnostic_dl.nn.module import Module
from agnostic_dl.train import archive, health, manifest, storage
from agnostic_dl.train.history import History
from agnostic_dl.train.position import Position

if TYPE_CHECKING:
    from agnostic_dl.train.trainer import Trainer

#: MIXED is FORMAT and a precision: a version that knows the first only must not go on without it.
FORMAT, MIXED = 2, 3
#: What the manifest has of the optimizer's state; its arrays are tensors, the last is float16's.
STATE = ("step", "schedules", "scaling")
#: The checkpoint in a run's folder, and the generation before it.
NAME = "model.safetensors"
PREVIOUS_NAME = storage.previous(Path(NAME)).name


class NoCheckpointError(CheckpointError):
    """There is no whole checkpoint: none at all, or every generation is damaged."""


def file_of(path: Path) -> Path:
    """The file meant by *path*: itself, or the checkpoint in the run's folder of that name."""
    is_file = path.is_file() or (path.suffix == ".safetensors" and not path.is_dir())
    return path if is_file else path / NAME


# -- writing -------------------------------------------------------------------------------------


def save(trainer: Trainer, path: Path) -> None:
    """Write the trainer's model, optimizer state, history and position."""
    state, values = trainer.step.state, trainer.model.state_dict()
    if bad := [name for name, array in values.items() if not health.is_finite([array])]:
        raise NonFiniteError(
            f"the values of {bad[0]!r} are no longer finite, so they were not saved; an earlier "
            f"checkpoint is kept as it was: lower the learning rate, or clip the gradients"
        )
    arrays = {f"model.{name}": array for name, array in values.items()}
    for parameter, slots in state["slots"].items():
        arrays.update({f"optimizer.{parameter}.{n}": array for n, array in slots.items()})
    host = {name: trainer.backend.to_numpy(array) for name, array in arrays.items()}
    storage.replace(file_of(path), archive.pack(host, description(trainer)))


def description(trainer: Trainer) -> dict[str, Any]:
    """Everything of a run but its arrays, as plain data: model, optimizer, position, history."""
    state, position = trainer.step.state, trainer.position
    return {
        "format": FORMAT if trainer.precision is None else MIXED,
        "model": describe(trainer.model),
        "optimizer": manifest.describe_engine(trainer.engine),
        "state": {name: part for name, part in state.items() if name != "slots"},
        "precision": trainer.precision,
        "loss": trainer.loss_name if isinstance(trainer.loss_name, str) else None,
        "metrics": list(trainer.metrics),
        "seed": trainer.seed,
        "position": None if position is None else position.to_plain(),
        "info": trainer.info,
        "history": trainer.history.rows,
        "made_with": manifest.made_with(trainer),
    }


def sweep(path: Path) -> None:
    """Clear up after a save that was killed; for the one who goes on with the run, not readers."""
    storage.sweep(file_of(path))


# -- reading -------------------------------------------------------------------------------------


def load(
    kind: type[Trainer], path: Path, *, model: Module | None = None, backend: str | None = None,
    loss: Any = None, metrics: Any = None,
) -> Trainer:  # fmt: skip
    """Make the trainer again that was saved at *path*, or in the folder *path*."""
    used, described, tensors = read(file_of(path))
    try:
        _require_format(described)
        manifest.check_plugins(described["made_with"])
        trainer = _trainer(kind, described, model, backend, loss, metrics)
        _fill(trainer, described, tensors)
        manifest.warn_of_changes(described["made_with"], trainer, str(used))
    except PluginError as error:  # not the file's fault: it must not count as damaged
        raise type(error)(f"{used}: {error}") from error
    except (CheckpointError, ShapeError, UsageError) as error:
        raise CheckpointError(f"{used}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{used}: made by another version, or not by this library: "
            f"{type(error).__name__}: {error}"
        ) from error
    return trainer


def _require_format(described: dict[str, Any]) -> None:
    if described.get("format") not in (FORMAT, MIXED):
        raise CheckpointError(f"not a checkpoint of this version (format {FORMAT} or {MIXED})")
    if described["format"] == MIXED and described.get("precision") is None:
        raise CheckpointError(f"its precision is missing, which format {MIXED} has")


def read(path: Path) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """The newest whole generation at *path*: the file that has it, its manifest and host arrays."""
    try:
        return path, *_read_file(path)
    except (archive.DamagedError, FileNotFoundError, OSError) as error:
        newest = error
    older = storage.previous(path)
    try:
        found = _read_file(older)
    except (CheckpointError, OSError):
        raise _unusable(path, newest) from newest
    warnings.warn(
        f"{_cause(path, newest)}; falling back to the generation before it, {older.name} "
        f"(step {found[0].get('state', {}).get('step')})",
        CheckpointWarning,
        stacklevel=2,
    )
    return older, *found


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    content = path.read_bytes()
    try:
        return archive.unpack(content)
    except CheckpointError as error:
        raise type(error)(f"{path}: {error}") from error


def _cause(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{path}: {(error.strerror or str(error)).lower()}"
    return str(error)


def _unusable(path: Path, error: Exception) -> NoCheckpointError:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return NoCheckpointError(
            f"{path.parent if path.name == NAME else path}: no checkpoint here: name the folder "
            f"that train's --out wrote, or the file that Trainer.save wrote"
        )
    return NoCheckpointError(f"{_cause(path, error)}; use another copy of the run")


def _trainer(
    kind: type[Trainer], described: dict[str, Any], model: Module | None, backend: str | None,
    loss: Any, metrics: Any,
) -> Trainer:  # fmt: skip
    if model is None and described["model"] is None:
        raise CheckpointError(
            "this run's model has layers that are not the library's: build it and pass it, "
            "Trainer.load(path, model=...)"
        )
    if loss is None and not isinstance(described["loss"], str):
        raise CheckpointError(
            "this run's loss was a function of its own: pass it, Trainer.load(path, loss=...)"
        )
    return kind(
        model or build(described["model"]), manifest.build_engine(described["optimizer"]),
        loss=loss or described["loss"],
        metrics=tuple(described["metrics"]) if metrics is None else metrics,
        backend=backend, seed=described["seed"], precision=described.get("precision"),
    )  # fmt: skip


def _fill(trainer: Trainer, described: dict[str, Any], tensors: dict[str, Any]) -> None:
    """Put weights, optimizer state, history and position into a trainer of the same build."""
    _require_dtypes(trainer.backend, tensors)
    # Copies: what safetensors returns are read-only views of the file's content.
    with backends.use_backend(trainer.backend):
        arrays = {name: trainer.backend.asarray(t.copy()) for name, t in tensors.items()}
        values = {n.removeprefix("model."): a for n, a in arrays.items() if n.startswith("model.")}
        _load_values(trainer.model, values)
        state = trainer.step.state
    slots = {
        parameter: {n: _like(own, arrays, f"optimizer.{parameter}.{n}") for n, own in slots.items()}
        for parameter, slots in state["slots"].items()
    }
    kept = described["state"]
    _require_state(kept, state)
    _require_scale(trainer, kept)
    trainer.step.state = {**kept, "slots": slots}
    trainer.info, trainer.history = (
        dict(described["info"]),
        History([dict(row) for row in described["history"]]),
    )
    position = described["position"]
    trainer.position = None if position is None else Position(**position)


def _require_dtypes(backend: Backend, tensors: dict[str, Any]) -> None:
    for name, array in tensors.items():
        if array.dtype.name not in backend.dtypes:
            raise UsageError(
                f"{name!r} is {array.dtype.name}, which the backend {backend.name!r} does not have "
                f"here: choose another backend"
            )


def _require_state(kept: dict[str, Any], own: dict[str, Any]) -> None:
    """Refuse the state of another optimizer, or of something else; *own*: the optimizer's first."""
    if type(kept["step"]) is not int or kept["step"] < 0:
        raise CheckpointError(
            f"its optimizer's state is none: expected 'step', a count, got {kept['step']!r}"
        )
    if len(kept["schedules"]) != len(own["schedules"]):
        raise CheckpointError("its optimizer's state does not fit its optimizer")
    if "slots" in kept:
        raise CheckpointError("not made by this library: its optimizer's state holds 'slots' twice")
    if unknown := [name for name in kept if name not in STATE]:
        warnings.warn(  # an engine of one's own may have saved it, and may go on from it
            f"its optimizer's state holds {unknown[0]!r}, which the library's engine does not "
            f"know: kept for an engine of your own (`continue_from`), and otherwise unused",
            CheckpointWarning,
            stacklevel=2,
        )


def _require_scale(trainer: Trainer, kept: dict[str, Any]) -> None:
    scaling = trainer.step.precision.scaling
    if scaling is None:
        if "scaling" in kept:
            raise CheckpointError(
                f"it has a scale of the loss, which precision={trainer.precision!r} has not"
            )
        return
    if "scaling" not in kept:
        raise CheckpointError(
            f"trained in {trainer.precision}, but its scale of the loss is missing"
        )
    if not scaling.fits(kept["scaling"]):
        raise CheckpointError(
            f"its scale of the loss is none: expected 'scale', a power of two from "
            f"{scaling.least:g} to {scaling.most:g}, and 'clean', a count of steps, got "
            f"{kept['scaling']!r}"
        )


def _load_values(model: Module, values: dict[str, Any]) -> None:
    """Take the values in the dtypes that they were saved in."""
    for name, parameter in {**model.parameters(), **model.buffers()}.items():
        if name in values:
            parameter.cast(str(values[name].dtype).rpartition(".")[2])
    model.load_state_dict(values)


def _like(own: Any, arrays: dict[str, Any], name: str) -> Any:
    if name not in arrays or tuple(arrays[name].shape) != tuple(own.shape):
        found = tuple(arrays[name].shape) if name in arrays else "nothing"
        raise CheckpointError(f"{name}: expected shape {tuple(own.shape)}, got {found}")
    return arrays[name]
