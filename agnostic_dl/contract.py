"""What a loaded plugin must look like: checked before it is used, told in one line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from agnostic_dl.errors import PluginError

HOOKS = {
    "backend": "agnostic_dl_backends",
    "optimizer": "agnostic_dl_optimizers",
    "kernels": "agnostic_dl_kernels",
}


def contribution_of(kind: str, name: str, module: Any, results: list[Any]) -> dict[str, Any]:
    """What the hooks of a plugin's module returned, by name; PluginError where it cannot work."""
    contribution = _merged(HOOKS[kind], module, results)
    if kind != "kernels":
        _check(kind, name, module, contribution)
    return contribution


def rules_of(results: list[Any]) -> tuple[Any, ...]:
    """The rules that a plugin's hook for rewrites returned; PluginError where one is none."""
    rules = [rule for result in results for rule in result]
    for rule in rules:
        if not hasattr(rule, "patterns") or not callable(getattr(rule, "build", None)):
            raise PluginError(
                f"agnostic_dl_rewrites returned {type(rule).__name__}, expected rules made with "
                f"agnostic_dl.extend.rule"
            )
    return tuple(rules)


def _merged(hook: str, module: Any, results: list[Any]) -> dict[str, Any]:
    value = getattr(module, "__name__", module)
    if not results and hasattr(module, hook):
        raise PluginError(f"{value}.{hook} is not marked with @hookimpl")
    for result in results:
        if not isinstance(result, Mapping):
            raise PluginError(
                f"{value}'s hook returned {type(result).__name__}, expected a dict of names"
            )
    return {name: item for result in results for name, item in result.items()}


def _check(kind: str, name: str, module: Any, contribution: Mapping[str, Any]) -> None:
    """Refuse what cannot work, before it fails deep inside a training run."""
    if name not in contribution:
        raise PluginError(
            f"{getattr(module, '__name__', module)}'s hook returned "
            f"{sorted(contribution) or 'nothing'}, expected the entry point's name {name!r}"
        )
    registered = contribution[name]
    problem = (optimizer_problem if kind == "optimizer" else backend_problem)(registered)
    if problem:
        raise PluginError(f"{getattr(registered, '__name__', registered)}{problem}")


def optimizer_problem(kind: Any) -> str | None:
    """What in the form of an optimizer's class is not as the contract says; None: nothing."""
    import dataclasses
    import inspect

    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        return ": expected a frozen dataclass derived from agnostic_dl.extend.Optimizer"
    missing = [name for name in ("elementwise", "init", "scalars", "update")
               if not hasattr(kind, name)]  # fmt: skip
    if missing:
        return f" lacks {', '.join(missing)}: derive it from agnostic_dl.extend.Optimizer"
    if "learning_rate" not in {field.name for field in dataclasses.fields(kind)}:
        return " has no field learning_rate"
    for method, expected in (
        ("init", "self, xp, param"),
        ("scalars", "self, learning_rate, step"),
        ("update", "self, xp, param, grad, state"),
    ):
        try:
            parameters = list(inspect.signature(getattr(kind, method)).parameters.values())
        except (TypeError, ValueError):
            return f".{method} is not a method: expected ({expected})"
        if not _takes(parameters, len(expected.split(","))):
            got = ", ".join(map(str, (p.name for p in parameters)))
            rest = ", *, …" if method == "update" else ""
            return f".{method}: expected ({expected}{rest}), got ({got})"
    return None


def _takes(parameters: list[Any], count: int) -> bool:
    """Whether a function can be called with *count* positional arguments, scalars by keyword."""
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return True
    required = [p for p in positional if p.default is p.empty]
    return len(required) <= count <= len(positional)


def backend_problem(factory: Any) -> str | None:
    """What in the form of a backend's factory is not as the contract says; None: nothing."""
    if not callable(factory) or not callable(getattr(factory, "probe", None)):
        return ": expected a factory of a Backend with a probe(), such as a subclass of Backend"
    return None


def clip(text: str, limit: int) -> str:
    """*text* cut to *limit* characters, with an ellipsis where something is missing."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def one_line(error: BaseException) -> str:
    """Class and message of an exception in one line; a syntax error with its file and line."""
    if isinstance(error, PluginError):
        return " ".join(str(error).split())
    if isinstance(error, SyntaxError) and error.filename:
        where = f" ({os.path.basename(error.filename)}, line {error.lineno})"
        return f"{type(error).__name__}: {error.msg}{where}"
    if isinstance(error, SystemExit):
        return f"SystemExit: {error.code} (it ends Python when it is imported)"
    text = str(error)
    if type(error).__name__ == "PluginValidationError":  # pluggy's, which repeats what is known
        text = text.strip().rpartition("\n")[2]
    message = " ".join(text.split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
