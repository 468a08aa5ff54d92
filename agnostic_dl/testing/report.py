"""The report of a conformance check: one finding for each rule."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agnostic_dl.contract import one_line
from agnostic_dl.errors import ConformanceError


class Broken(Exception):
    """Raised by a rule that is not kept; the message says what was expected and what came."""


class NotRun(Exception):
    """Raised by a rule that cannot be judged here; the message says why."""


@dataclass(frozen=True)
class Finding:
    """One rule: *outcome* is passed, failed, reported (not judged) or skipped."""

    rule: str
    outcome: str
    message: str = ""
    details: str = ""

    def __str__(self) -> str:
        sign = {"passed": "✓", "failed": "✗", "reported": "·", "skipped": "–"}[self.outcome]
        return f"{sign} {self.rule}{': ' + self.message if self.message else ''}"


@dataclass
class Report:
    """All findings about one plugin; prints as a list of rules."""

    subject: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no rule failed."""
        return not self.failures

    @property
    def failures(self) -> list[Finding]:
        """The rules that failed."""
        return [finding for finding in self.findings if finding.outcome == "failed"]

    def __str__(self) -> str:
        judged = [f for f in self.findings if f.outcome in ("passed", "failed")]
        kept = len(judged) - len(self.failures)
        head = f"{self.subject}: {kept} of {len(judged)} rules kept"
        return "\n".join([head, *(f"  {finding}" for finding in self.findings)])

    def require(self) -> Report:
        """This report, or ConformanceError that lists every rule that failed."""
        if self.failures:
            lines = [f"{self.subject} breaks {len(self.failures)} rules:"]
            error = ConformanceError("\n".join([*lines, *(f"  {f}" for f in self.failures)]))
            error.report = self  # type: ignore[attr-defined]
            raise error
        return self


Rule = Callable[[Any], str | None]


def judge(subject: Any, title: str, rules: Mapping[str, Rule], reported: Any = ()) -> Report:
    """Run each rule on *subject*; a rule returns a remark, or raises."""
    report = Report(title)
    for name, rule in rules.items():
        report.findings.append(_find(subject, name, rule, name in reported))
    return report


def _find(subject: Any, name: str, rule: Rule, only_reported: bool) -> Finding:
    outcome = "reported" if only_reported else "failed"
    try:
        remark = rule(subject) or ""
    except NotRun as error:
        return Finding(name, "skipped", str(error))
    except Broken as error:
        return Finding(name, outcome, str(error))
    except Exception as error:
        return Finding(name, outcome, one_line(error), traceback.format_exc())
    return Finding(name, "reported" if only_reported else "passed", remark)
