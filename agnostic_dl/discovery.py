"""What is installed, read from package metadata alone: nothing is imported here.

A package may declare the version of the plugin API that it is written for by an entry point in the
group ``agnostic_dl.api``, whose name is the version; without one it is taken for version 1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: The version of the contract of :mod:`agnostic_dl.extend` and :mod:`agnostic_dl.hookspecs`.
API_VERSION = 1

GROUPS = {
    "backend": "agnostic_dl.backends",
    "optimizer": "agnostic_dl.optimizers",
    "kernels": "agnostic_dl.kernels",
}
API_GROUP = "agnostic_dl.api"

_HEADER = re.compile(r"^(Name|Version|Requires-Dist):[ \t]*(.+?)[ \t]*$", re.MULTILINE)
_REQUIREMENT = re.compile(
    r"agnostic[-_.]+dl(?![-_.\w])\s*(?:\[[^\]]*\])?\s*\(?([^;)@]*)\)?\s*(;|$)", re.IGNORECASE
)
_CLAUSE = re.compile(r"(~=|===|==|!=|<=|>=|<|>)\s*([0-9][^,\s]*)")


@dataclass(frozen=True)
class Entry:
    """One entry point of a plugin; *malformed* and *incompatible* say why it cannot be used."""

    kind: str
    name: str
    value: str
    distribution: str
    version: str
    malformed: str | None = None
    incompatible: str | None = None


def entries() -> list[Entry]:
    """The plugins' entry points of every distribution on the path; of two copies the first."""
    from importlib.metadata import distributions

    seen: set[str] = set()
    found: list[Entry] = []
    for distribution in distributions():
        try:
            name = _stem(distribution) or canonical(distribution.name)
            if name not in seen:
                seen.add(name)
                found += _read(distribution, distribution.read_text("entry_points.txt") or "")
        except Exception:
            continue  # unreadable metadata is that package's loss alone
    return found


def _stem(distribution: Any) -> str | None:
    """The canonical name from the metadata folder's, without reading what is in it."""
    path = getattr(distribution, "_path", None)
    if path is None:
        return None
    return canonical(re.sub(r"\.(dist|egg)-info$", "", path.name).partition("-")[0])


def canonical(name: str) -> str:
    """A distribution's or plugin's name for comparison: lower case, ``-`` for ``_`` and ``.``."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _read(distribution: Any, text: str) -> list[Entry]:
    if "agnostic_dl." not in text:
        return []
    lines = list(_lines(text))
    header = _header(distribution)
    versions = [name for group, name, _ in lines if group == API_GROUP]
    incompatible = _api_problem(versions) or _requirement_problem(header["requires"])
    kinds = {group: kind for kind, group in GROUPS.items()}
    return [
        Entry(
            kinds[group], name, value or "", header["name"], header["version"],
            None if value else f"entry_points.txt: expected 'name = module', got {name!r}",
            incompatible,
        )
        for group, name, value in lines
        if group in kinds
    ]  # fmt: skip


def _lines(text: str) -> Iterator[tuple[str, str, str | None]]:
    """(group, name, value) of each entry; value None where the line has no ``=``."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif line and line[0] not in "#;":
            name, equals, value = line.partition("=")
            yield group, name.strip(), value.strip() or None if equals else None


def _header(distribution: Any) -> dict[str, Any]:
    """Name, version and requirements; a plain scan, for the full parser costs 0.2 ms a package."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    fields = _HEADER.findall(text.split("\n\n", 1)[0])
    first = dict(reversed(fields))
    return {
        "name": first.get("Name") or _stem(distribution) or "unknown-distribution",
        "version": first.get("Version", "unknown"),
        "requires": [value for key, value in fields if key == "Requires-Dist"],
    }


# -- compatibility ---------------------------------------------------------------------------------


def _api_problem(versions: list[str]) -> str | None:
    if not versions or str(API_VERSION) in versions:
        return None
    return f"written for plugin API {', '.join(versions)}, this agnostic-dl has {API_VERSION}"


def _requirement_problem(requirements: list[str]) -> str | None:
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match and match[2] != ";" and not _satisfied(match[1]):
            return f"requires agnostic-dl {match[1].strip()}, this is {_our_version()}"
    return None


def _our_version() -> str:
    version: str = sys.modules["agnostic_dl"].__version__
    return version


def _satisfied(specifier: str) -> bool:
    ours = _release(_our_version())
    return all(_holds(operator, version, ours) for operator, version in _CLAUSE.findall(specifier))


def _holds(operator: str, version: str, ours: tuple[int, ...]) -> bool:
    """One clause of a version specifier, by the numbers of the release alone."""
    theirs = _release(version)
    if version.endswith(".*"):
        same = ours[: len(theirs)] == theirs
        return same if operator == "==" else not same
    if operator == "~=":
        return ours >= theirs and ours[: len(theirs) - 1] == theirs[:-1]
    length = max(len(ours), len(theirs))
    left, right = (t + (0,) * (length - len(t)) for t in (ours, theirs))
    return {
        "==": left == right, "===": left == right, "!=": left != right,
        "<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right,
    }[operator]  # fmt: skip


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else (0,)
