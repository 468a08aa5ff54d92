"""Checkpoints: a folder with the arrays as safetensors and everything else as JSON; no pickle.

``model.safetensors`` holds parameters and buffers ("model.<name>") and the optimizer's state
("optimizer.<parameter>.<name>"); ``model.json`` describes the model, the optimizer and the run.
Both are written beside their places first and then moved there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnostic_dl import backends, optim, plugins
from agnostic_dl.errors import AgnosticDLError, CheckpointError, MissingExtraError
from agnostic_dl.nn.describe import build, describe
from agnostic_dl.nn.module import Module
from agnostic_dl.optim import schedules
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.optim.engine import Engine
from agnostic_dl.optim.schedules import Schedule
from agnostic_dl.train.history import History

if TYPE_CHECKING:
    from agnostic_dl.train.trainer import Trainer

FORMAT = 1
WEIGHTS, MANIFEST = "model.safetensors", "model.json"


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtraError(
            "checkpoints need the safetensors package: install the extra 'cli' of agnostic-dl"
        ) from error
    return safetensors.numpy


# -- writing -------------------------------------------------------------------------------------


def save(trainer: Trainer, folder: Path) -> None:
    """Write the trainer's model, optimizer state and history into *folder*."""
    state = trainer.step.state
    arrays = {f"model.{name}": array for name, array in trainer.model.state_dict().items()}
    for parameter, slots in state["slots"].items():
        arrays.update({f"optimizer.{parameter}.{n}": array for n, array in slots.items()})
    weights = _safetensors().save({n: trainer.backend.to_numpy(a) for n, a in arrays.items()})
    manifest = {
        "format": FORMAT,
        "weights": {"file": WEIGHTS, "blake2b": hashlib.blake2b(weights).hexdigest()},
        "model": describe(trainer.model),
        "optimizer": _describe_engine(trainer.engine),
        "state": {"step": state["step"], "schedules": state["schedules"]},
        "loss": trainer.loss_name if isinstance(trainer.loss_name, str) else None,
        "metrics": list(trainer.metrics),
        "seed": trainer.seed,
        "backend": trainer.backend.name,
        "info": trainer.info,
        "history": trainer.history.rows,
    }
    text = json.dumps(manifest, indent=1)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / WEIGHTS, weights)
    _write(folder / MANIFEST, text.encode())


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".partial")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _describe_engine(engine: Engine) -> dict[str, Any]:
    return {
        **_describe_optimizer(engine.optimizer),
        "clip_norm": engine.clip_norm,
        "overrides": {
            pattern: None if other is None else _describe_optimizer(other)
            for pattern, other in engine.overrides.items()
        },
    }


def _describe_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    fields = dataclasses.fields(optimizer)  # type: ignore[arg-type]
    values = {f.name: _plain(getattr(optimizer, f.name)) for f in fields}
    return {"name": plugins.name_of("optimizer", type(optimizer)), "hyperparameters": values}


def _plain(value: Any) -> Any:
    if isinstance(value, Schedule):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}  # type: ignore[arg-type]
        return {"schedule": type(value).__name__, **fields}
    if callable(value):
        raise CheckpointError(
            "a learning rate given as a function cannot be saved: use a schedule of adl.schedules"
        )
    return value


# -- reading -------------------------------------------------------------------------------------


def load(kind: type[Trainer], folder: Path, model: Module | None, backend: str | None) -> Trainer:
    """Make the trainer again that was saved in *folder*."""
    manifest = _read_manifest(folder)
    try:
        tensors = _read_weights(folder / WEIGHTS, manifest)
        return _restore(kind, manifest, tensors, model, backend)
    except AgnosticDLError:  # has its own words, and may be a ValueError as well
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / MANIFEST}: damaged or of another version: {type(error).__name__}: {error}"
        ) from error


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder}: no checkpoint here ({MANIFEST} is missing): name the folder that train's "
            f"--out or Trainer.save wrote"
        ) from error
    except NotADirectoryError as error:
        raise CheckpointError(f"{folder}: a file, expected the folder of a run") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version (format {FORMAT})")
    return manifest


def _read_weights(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: not readable: {error.strerror}") from error
    digest = hashlib.blake2b(content).hexdigest()
    if digest != manifest["weights"]["blake2b"]:
        raise CheckpointError(
            f"{path}: damaged: its digest is not the one in {MANIFEST}: use another copy of the run"
        )
    try:
        return dict(_safetensors().load(content))
    except Exception as error:  # safetensors' own error class has moved between versions
        raise CheckpointError(f"{path}: not a safetensors file: {error}") from error


def _restore(
    kind: type[Trainer], manifest: dict[str, Any], tensors: dict[str, Any],
    model: Module | None, backend: str | None,
) -> Trainer:  # fmt: skip
    if model is None and manifest["model"] is None:
        raise CheckpointError(
            "this run's model has layers that are not the library's: build it and pass it, "
            "Trainer.load(path, model=...)"
        )
    model = model or build(manifest["model"])
    if not isinstance(manifest["loss"], str):
        raise CheckpointError("this run's loss was a function of its own: it cannot be loaded")
    trainer = kind(
        model, _engine(manifest["optimizer"]), loss=manifest["loss"],
        metrics=tuple(manifest["metrics"]), backend=backend, seed=manifest["seed"],
    )  # fmt: skip
    arrays = {name: trainer.backend.asarray(tensor) for name, tensor in tensors.items()}
    with backends.use_backend(trainer.backend):
        model.load_state_dict(
            {n.removeprefix("model."): a for n, a in arrays.items() if n.startswith("model.")}
        )
        state = trainer.step.state
    slots = {
        parameter: {n: arrays[f"optimizer.{parameter}.{n}"] for n in own}
        for parameter, own in state["slots"].items()
    }
    trainer.step.state = {**manifest["state"], "slots": slots}
    trainer.info = manifest["info"]
    trainer.history = History([dict(row) for row in manifest["history"]])
    return trainer


def _engine(description: dict[str, Any]) -> Engine:
    overrides = {
        pattern: None if other is None else _optimizer(other)
        for pattern, other in description["overrides"].items()
    }
    return Engine(_optimizer(description), description["clip_norm"], overrides)


def _optimizer(description: dict[str, Any]) -> Optimizer:
    values = {n: _schedule(v) for n, v in description["hyperparameters"].items()}
    return optim.optimizer(description["name"], **values)


def _schedule(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    fields = {n: _schedule(v) for n, v in value.items() if n != "schedule"}
    kind = getattr(schedules, str(value.get("schedule")), None)
    if not (isinstance(kind, type) and issubclass(kind, Schedule)):
        raise CheckpointError(f"unknown schedule {value.get('schedule')!r}")
    made: Schedule = kind(**fields)
    return made
