"""A complete, publishable plugin package written from templates: ``agnostic-dl new-plugin``."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from agnostic_dl.discovery import API_VERSION, GROUPS
from agnostic_dl.errors import UsageError

KINDS = ("optimizer", "backend", "kernels")

#: Where each template of a kind goes; {module} is the package's module.
_COMMON = {
    "pyproject.toml.in": "pyproject.toml",
    "ci.yml.in": ".github/workflows/test.yml",
    "gitignore.in": ".gitignore",
    "license.in": "LICENSE",
}
_OF_KIND = {
    "plugin.py.in": "src/{module}/__init__.py",
    "test.py.in": "tests/test_{module}.py",
    "README.md.in": "README.md",
}


@dataclass(frozen=True)
class NewPlugin:
    """What was written: the folder, and the three commands that come next."""

    folder: Path
    files: tuple[Path, ...]
    next_steps: tuple[str, ...]


def new_plugin(kind: str, name: str, parent: str | Path = ".") -> NewPlugin:
    """Write the package of a plugin called *name* into a new folder in *parent*.

    *kind*: optimizer, backend or kernels; kernels are named ``<backend>.<name>``.
    """
    words = _names(kind, name)
    folder = Path(parent) / words["distribution"]
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} exists and is not empty: choose another name, or remove it")
    written = []
    for room, targets in (("common", _COMMON), (kind, _OF_KIND)):
        for source, target in targets.items():
            text = (files(__package__) / room / source).read_text(encoding="utf-8")
            path = folder / target.format(**words)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(text).substitute(words), encoding="utf-8")
            written.append(path)
    typed = folder / "src" / words["module"] / "py.typed"
    typed.touch()
    return NewPlugin(folder, (*written, typed), _next_steps(kind, name, folder))


def _names(kind: str, name: str) -> dict[str, str]:
    """Everything that the templates are filled in with."""
    if kind not in KINDS:
        raise UsageError(f"expected one of {', '.join(KINDS)}, got {kind!r}")
    backend, dot, short = name.partition(".") if kind == "kernels" else ("", ".", name)
    if not dot or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", short or ""):
        form = "<backend>.<name>, say numpy.mine" if kind == "kernels" else "a name like my-rule"
        raise UsageError(f"{name!r}: expected {form} (lower case, digits, single hyphens)")
    if backend and not re.fullmatch(r"[a-z][a-z0-9-]*", backend):
        raise UsageError(f"{name!r}: expected <backend>.<name>, say numpy.mine")
    plain = short.replace("-", "_")
    if keyword.iskeyword(plain):
        raise UsageError(f"{name!r} is a word of Python's own: choose another name")
    return {
        "kind": kind, "name": name, "short": short, "backend": backend, "group": GROUPS[kind],
        "distribution": f"agnostic-dl-{short}", "module": f"agnostic_dl_{plain}",
        "class_name": "".join(part.capitalize() for part in short.split("-")),
        "api": str(API_VERSION),
    }  # fmt: skip


def _next_steps(kind: str, name: str, folder: Path) -> tuple[str, ...]:
    last = {
        "optimizer": f"agnostic-dl train digits --optimizer {name}",
        "backend": f"agnostic-dl train digits --backend {name}",
        "kernels": f"agnostic-dl train digits --backend {name.partition('.')[0]}",
    }[kind]
    return (f"pip install -e {folder}", f"agnostic-dl check-plugin {name}", last)
