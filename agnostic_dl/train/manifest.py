"""What a checkpoint says besides its arrays: optimizer, schedule, and what it was made with."""

from __future__ import annotations

import dataclasses
import platform
import sys
import warnings
from typing import TYPE_CHECKING, Any

from agnostic_dl import optim, plugins
from agnostic_dl.errors import CheckpointError, CheckpointWarning, PluginError, UnknownNameError
from agnostic_dl.optim import schedules
from agnostic_dl.optim.base import Optimizer
from agnostic_dl.optim.engine import Engine
from agnostic_dl.optim.schedules import Schedule

if TYPE_CHECKING:
    from agnostic_dl.train.trainer import Trainer

# -- the optimizer -------------------------------------------------------------------------------


def describe_engine(engine: Engine) -> dict[str, Any]:
    """The engine as plain data: names and numbers, nothing to import."""
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
    values = {f.name: _plain(getattr(optimizer, f.name)) for f in fields if f.init}
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


def build_engine(description: dict[str, Any]) -> Engine:
    """The engine of a description; its optimizers come from the installed plugins."""
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


# -- what it was made with -----------------------------------------------------------------------


def made_with(trainer: Trainer) -> dict[str, Any]:
    """The plugins with their distributions, and the versions of what computes."""
    return {
        "backend": trainer.backend.name,
        "plugins": [
            {"kind": i.kind, "name": i.name, "distribution": i.distribution, "version": i.version}
            for i in _used(trainer)
        ],
        "versions": _versions(trainer),
    }


def _used(trainer: Trainer) -> list[plugins.PluginInfo]:
    backend = trainer.backend.name
    optimizers = {plugins.name_of("optimizer", type(o)) for o in trainer.engine.optimizers}
    return [
        info
        for kind in ("backend", "kernels", "optimizer")
        for info in plugins.infos(kind)
        if info.state == "loaded"
        and (
            (kind == "backend" and info.name == backend)
            or (kind == "kernels" and info.name.startswith(f"{backend}."))
            or (kind == "optimizer" and info.name in optimizers)
        )
    ]


def _versions(trainer: Trainer) -> dict[str, str]:
    library = trainer.backend.array_type.__module__.partition(".")[0]
    versions = {
        name: getattr(sys.modules.get(name), "__version__", None)
        for name in ("agnostic_dl", library)
    }
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: str(version) for name, version in versions.items() if version is not None},
    }


def check_plugins(made: dict[str, Any]) -> None:
    """Refuse a run whose optimizers are not installed, naming the distributions that had them."""
    for used in made["plugins"]:
        if used["kind"] != "optimizer":
            continue  # models move between backends, and a kernel has its reference
        try:
            plugins.lookup("optimizer", used["name"])
        except PluginError as error:
            raise UnknownNameError(
                f"the run's optimizer {used['name']!r} cannot be had: it came with "
                f"{used['distribution']} {used['version']}: install that ({error})"
            ) from error


def warn_of_changes(made: dict[str, Any], trainer: Trainer, where: str) -> None:
    """Warn where what computes now is of another version: the last digits may differ."""
    if made["backend"] != trainer.backend.name:
        return  # chosen, not happened
    now = made_with(trainer)
    before = {(p["kind"], p["name"]): p["version"] for p in made["plugins"]}
    after = {(p["kind"], p["name"]): p["version"] for p in now["plugins"]}
    changes = [
        f"{kind} plugin {name} {version} → {after.get((kind, name), 'missing')}"
        for (kind, name), version in before.items()
        if after.get((kind, name)) != version
    ]
    changes += [
        f"{name} {version} → {now['versions'].get(name, 'missing')}"
        for name, version in made["versions"].items()
        if now["versions"].get(name) != version
    ]
    if changes:
        warnings.warn(
            f"{where} was saved by other versions ({', '.join(changes)}): a resumed run may "
            f"differ in the last digits",
            CheckpointWarning,
            stacklevel=2,
        )
