"""From settings to objects: the model, the optimizers and the learning-rate schedule."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from agnostic_dl import optim
from agnostic_dl.cli.settings import Settings
from agnostic_dl.errors import UsageError
from agnostic_dl.nn import models
from agnostic_dl.optim import Engine, schedules

#: Schedule → the options that it reads, besides --learning-rate and --warmup-steps.
SCHEDULES: dict[str, tuple[str, ...]] = {
    "constant": (),
    "step": ("decay_every", "decay_factor"),
    "cosine": ("final_learning_rate",),
    "hold": ("hold_steps",),
    "plateau": ("patience", "decay_factor", "final_learning_rate"),
}


_DROPPING = ("mlp", "adam-paper-cnn")


# -- models --------------------------------------------------------------------------------------


def build_model(
    settings: Settings, image_shape: tuple[int, ...], classes: int, standardize: Any = None
) -> Any:
    """The model for images of that shape."""
    known = settings.model in models.names()
    if settings.dropout is not None and known and settings.model not in _DROPPING:
        raise UsageError(
            f"--dropout goes with --model {' or '.join(_DROPPING)}, not with {settings.model}"
        )
    options = {} if settings.dropout is None else {"dropout": settings.dropout}
    return models.create(
        settings.model, input_shape=image_shape, classes=classes, standardize=standardize, **options
    )


# -- optimizers ----------------------------------------------------------------------------------


def build_engine(settings: Settings, steps_per_epoch: int, epochs: int) -> Engine:
    """The optimizer with its schedule, its overrides and the clipping."""
    hyper = _pairs(settings.hyper, "--hyper")
    if "learning_rate" in hyper:
        raise UsageError("--hyper learning_rate=...: use --learning-rate")
    if settings.learning_rate is not None:
        hyper["learning_rate"] = settings.learning_rate
    plain = _optimizer(settings.optimizer, hyper)
    rate = _schedule(settings, plain.learning_rate, steps_per_epoch, epochs)
    main = plain if rate is None else dataclasses.replace(plain, learning_rate=rate)
    overrides = dict(_override(text) for text in settings.override)
    return Engine(main, settings.clip_norm, overrides)


def _optimizer(name: str, hyper: dict[str, Any]) -> Any:
    try:
        made: Any = optim.optimizer(name, **hyper)
    except TypeError as error:  # a required hyperparameter, or a value that its checks cannot take
        raise UsageError(f"optimizer {name!r}: {error}") from error
    for field in dataclasses.fields(made):
        _check_kind(name, field, getattr(made, field.name))
    return made


def _check_kind(name: str, field: Any, value: Any) -> None:
    """A text where a number belongs is found now and not in the first step."""
    kinds = {bool: "true or false", int: "a number", float: "a number"}
    expected = kinds.get(type(field.default))
    if expected is None or field.name == "learning_rate":
        return
    if kinds.get(type(value)) != expected:
        raise UsageError(f"optimizer {name!r}: {field.name}: expected {expected}, got {value!r}")


def _override(text: str) -> tuple[str, Any]:
    """'PATTERN=OPTIMIZER:key=value,...' as pattern and optimizer; "none" leaves them untrained."""
    pattern, equals, rest = text.partition("=")
    name, _, pairs = rest.partition(":")
    if not pattern or not equals or not name:
        raise UsageError(
            f"--override: expected PATTERN=OPTIMIZER or PATTERN=OPTIMIZER:key=value,..., such as "
            f"'conv*=adagrad:learning_rate=0.01', got {text!r}"
        )
    if name == "none" and not pairs:
        return pattern, None
    hyper = _pairs([pair for pair in pairs.split(",") if pair], "--override")
    return pattern, _optimizer(name, hyper)


def _pairs(texts: Any, option: str) -> dict[str, Any]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key.strip() or not equals:
            raise UsageError(f"{option}: expected key=value, such as momentum=0.9, got {text!r}")
        found[key.strip().replace("-", "_")] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    """A number, true, false or null as JSON has them; everything else is a text."""
    try:
        value = json.loads(text.lower())
    except ValueError:
        return text
    return text if isinstance(value, (dict, list, str)) else value


# -- schedules -----------------------------------------------------------------------------------


def _schedule(settings: Settings, rate: Any, steps_per_epoch: int, epochs: int) -> Any:
    """The schedule that starts from *rate*; None: the rate stays as it is."""
    _check_options(settings)
    rest = max(steps_per_epoch * epochs - settings.warmup_steps, 1)
    chosen = _after_warmup(settings, rate, steps_per_epoch, rest)
    if settings.warmup_steps:
        return schedules.linear_warmup(chosen, settings.warmup_steps)
    return None if settings.schedule == "constant" else chosen


def _after_warmup(settings: Settings, rate: Any, steps_per_epoch: int, steps: int) -> Any:
    factor = 0.1 if settings.decay_factor is None else settings.decay_factor
    final = settings.final_learning_rate or 0.0
    if settings.schedule == "step":
        every = settings.decay_every or max(steps // (3 * steps_per_epoch), 1)
        return schedules.step_decay(rate, every * steps_per_epoch, factor)
    if settings.schedule == "cosine":
        return schedules.cosine(rate, steps, final)
    if settings.schedule == "hold":
        return schedules.hold_then_decay(rate, settings.hold_steps or max(steps // 2, 1))
    if settings.schedule == "plateau":
        patience = 3 if settings.patience is None else settings.patience
        return schedules.reduce_on_plateau(rate, factor, patience, min_learning_rate=final)
    return rate


def _check_options(settings: Settings) -> None:
    if settings.schedule not in SCHEDULES:
        raise UsageError(
            f"--schedule: expected one of {', '.join(SCHEDULES)}, got {settings.schedule!r}"
        )
    if settings.warmup_steps < 0:
        raise UsageError(f"--warmup-steps: expected 0 or more, got {settings.warmup_steps}")
    for option in sorted({name for names in SCHEDULES.values() for name in names}):
        value = getattr(settings, option)
        if value is None:
            continue
        flag = f"--{option.replace('_', '-')}"
        users = [schedule for schedule, names in SCHEDULES.items() if option in names]
        if settings.schedule not in users:
            raise UsageError(f"{flag} goes with --schedule {' or '.join(users)}")
        _check_number(flag, option, value)


def _check_number(flag: str, option: str, value: float) -> None:
    least = 0 if option in ("patience", "final_learning_rate") else 1
    if option == "decay_factor" and not 0 < value < 1:
        raise UsageError(f"{flag}: expected a number between 0 and 1, got {value}")
    if option != "decay_factor" and value < least:
        raise UsageError(f"{flag}: expected {least} or more, got {value}")
