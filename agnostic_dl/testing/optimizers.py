"""check_optimizer: does an optimizer keep the contract, on every array library that is here?"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agnostic_dl.errors import UsageError
from agnostic_dl.optim.raw import raw_update, scalar_arrays
from agnostic_dl.optim.registry import optimizer as by_name
from agnostic_dl.optim.update import learning_rate_at
from agnostic_dl.testing import capturing, convergence, optimizer_rules
from agnostic_dl.testing.report import Broken, NotRun, Report, Rule, judge
from agnostic_dl.testing.walks import Subject, any_library


def reference(subject: Subject) -> str:
    """It follows the trajectory that its author supplies, step by step."""
    claim = _claim(subject.reference)
    lib = any_library()
    array = lambda value: lib.xp.asarray(value, dtype=lib.best)  # noqa: E731
    optimizer, param = subject.optimizer, array(claim["param"])
    grads, expected = list(claim["grads"]), claim["params"]
    if callable(expected):
        expected = expected(param, [array(grad) for grad in grads])
    wanted = _by_step(expected)
    tolerance = float(claim.get("tolerance", 1e-12))
    state = optimizer.init(lib.xp, param)
    for t, grad in enumerate(grads, start=1):
        rate = learning_rate_at(optimizer, t)
        numbers = scalar_arrays(optimizer, lib.xp, rate, t, param.dtype)
        param, state = raw_update(optimizer, lib.xp, param, array(grad), state, numbers)
        if t in wanted:
            gap = float(lib.xp.max(lib.xp.abs(param - array(wanted[t]))))
            if not gap <= tolerance:
                raise Broken(f"step {t} is off by {gap:.1e}, allowed is {tolerance:g}")
    missed = [t for t in wanted if t > len(grads)]
    if missed or not wanted:
        raise Broken(f"params of {missed or 'no steps'}, but gradients of {len(grads)} steps")
    return f"{len(wanted)} of {len(grads)} steps compared, to {tolerance:g}"


def _claim(given: Any) -> Mapping[str, Any]:
    """The reference as a mapping, from whichever form it was given in."""
    if given is None:
        raise NotRun("none was given")
    if isinstance(given, (str, Path)):
        return _claim(json.loads(Path(given).read_text(encoding="utf-8")))
    if callable(given):
        return {**_problem(), "params": given}
    if isinstance(given, Mapping):
        params = given.get("params", given.get("trajectory"))
        if params is not None and "param" in given and "grads" in given:
            return {**given, "params": params}
    elif isinstance(given, Sequence) and len(given) == 3:
        return dict(zip(("param", "grads", "params"), given, strict=True))
    raise UsageError(
        "reference: expected {'param': first param, 'grads': [gradient of each step], 'params': "
        "[param after each step] or {step: param}}, the path of such a JSON file, or a function "
        "(param, grads) -> params"
    )


def _problem() -> dict[str, Any]:
    """What a reference that is a function is asked about: 20 gradients of a 4×3 array."""
    lib = any_library()
    return {"param": lib.array((4, 3), 1), "grads": [lib.array((4, 3), 2 + t) for t in range(20)]}


def _by_step(params: Any) -> dict[int, Any]:
    if isinstance(params, Mapping):
        return {int(step): value for step, value in params.items()}
    return dict(enumerate(params, start=1))


#: Every rule by name, in the order of the report; the last two are reported, not judged.
RULES: dict[str, Rule] = {
    "protocol": optimizer_rules.protocol,
    "purity": optimizer_rules.purity,
    "dtype": optimizer_rules.dtype,
    "shape": optimizer_rules.shape,
    "device": optimizer_rules.device,
    "portability": optimizer_rules.portability,
    "traceable": optimizer_rules.traceable,
    "elementwise": optimizer_rules.elementwise,
    "resume": optimizer_rules.resume,
    "captured": capturing.captured,
    "convergence": convergence.convergence,
    "reference": reference,
    "rosenbrock": convergence.rosenbrock,
    "small_cnn": convergence.small_cnn,
}
REPORTED = ("rosenbrock", "small_cnn")


def check_optimizer(name_or_instance: Any, *, reference: Any = None) -> Report:
    """Check an optimizer, by name or itself, against every rule of the contract.

    *reference*: a trajectory that it must follow: ``{"param", "grads", "params"}`` (params after
    each step, or by step; "tolerance" if not 1e-12), the path of such a JSON file, or a function
    ``(param, grads) -> params``. Runs on every array library that is installed. Returns the report,
    or raises ConformanceError with every rule that failed.
    """
    title, optimizer = _resolve(name_or_instance)
    return judge(Subject(optimizer, reference), title, RULES, REPORTED).require()


def _resolve(given: Any) -> tuple[str, Any]:
    if isinstance(given, str):
        return f"optimizer {given!r}", by_name(given)
    if isinstance(given, type):
        required = [
            field.name
            for field in dataclasses.fields(given)
            if field.init and field.default is field.default_factory is dataclasses.MISSING
        ] if dataclasses.is_dataclass(given) else []  # fmt: skip
        given = given(**dict.fromkeys(required, 0.01))
    return f"optimizer {type(given).__name__}", given


def optimizer_tests(name: str, *, reference: Any = None) -> Callable[[str], None]:
    """A pytest test with one case for each rule: ``test_conformance = optimizer_tests("lion")``."""
    import pytest

    @pytest.mark.parametrize("rule", RULES)
    def test_conformance(rule: str) -> None:
        title, optimizer = _resolve(name)
        report = judge(Subject(optimizer, reference), title, {rule: RULES[rule]}, REPORTED)
        report.require()
        if report.findings[0].outcome == "skipped":
            pytest.skip(report.findings[0].message)

    return test_conformance
