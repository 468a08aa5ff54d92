"""What a training run was asked for: kept in its checkpoint, so that it can be continued."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from agnostic_dl.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """The options of `train` that make a run what it is, by the names of its parameters."""

    model: str = "lenet"
    dropout: float | None = None
    optimizer: str = "adam"
    learning_rate: float | None = None
    hyper: tuple[str, ...] = ()
    override: tuple[str, ...] = ()
    clip_norm: float | None = None
    schedule: str = "constant"
    warmup_steps: int = 0
    decay_every: int | None = None
    decay_factor: float | None = None
    hold_steps: int | None = None
    final_learning_rate: float | None = None
    patience: int | None = None
    batch_size: int | None = None
    seed: int = 0
    image_size: str | None = None
    mode: str | None = None
    standardize: bool = True
    validation_fraction: float = 0.0
    deterministic: bool = False
    precision: str | None = None

    @classmethod
    def of(cls, values: dict[str, Any]) -> Settings:
        """From a command's parameters or from `to_plain`."""
        known = {f.name for f in fields(cls)}
        return cls(**{n: _frozen(v) for n, v in values.items() if n in known})

    def to_plain(self) -> dict[str, Any]:
        """As what JSON can hold."""
        return {n: list(v) if isinstance(v, tuple) else v for n, v in asdict(self).items()}

    def continuing(self, earlier: Settings, given: set[str], run: str) -> Settings:
        """The settings of a run that is resumed: the earlier ones; those *given* must be equal."""
        for name in sorted(given & {f.name for f in fields(self)}):
            before, now = getattr(earlier, name), getattr(self, name)
            if before != now:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(
                    f"{run} was trained with {option} {_spell(before)}, not {_spell(now)}: leave "
                    f"{option} out to resume it, or choose another --out"
                )
        return replace(earlier)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _spell(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(value) or "(none)"
    return "(its default)" if value is None else str(value)
