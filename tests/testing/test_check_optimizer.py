"""Each rule of the optimizers' kit, and a deliberately wrong optimizer that breaks just it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

import agnostic_dl as adl
from agnostic_dl import errors
from agnostic_dl.extend import Optimizer
from agnostic_dl.primitives.program import InterpretedPlan
from agnostic_dl.testing import check_optimizer
from agnostic_dl.testing.optimizers import REPORTED, RULES
from agnostic_dl.testing.report import judge
from agnostic_dl.testing.walks import Subject


@dataclass(frozen=True)
class Good(Optimizer):
    """Momentum, written as it should be: the wrong ones below differ in one point each."""

    elementwise = True
    learning_rate: float = 0.01

    def init(self, xp, param):
        return {"v": xp.zeros_like(param)}

    def update(self, xp, param, grad, state, *, learning_rate):
        v = 0.9 * state["v"] + grad
        return param - learning_rate * v, {"v": v}


@dataclass
class NotFrozen(Optimizer):
    learning_rate: float = 0.01
    init = Good.init
    update = Good.update


class AsksForMore(Good):
    def update(self, xp, param, grad, state, *, learning_rate, temperature):
        return Good.update(self, xp, param, grad, state, learning_rate=learning_rate)


class NewStateNames(Good):
    def update(self, xp, param, grad, state, *, learning_rate):
        new, state = Good.update(self, xp, param, grad, state, learning_rate=learning_rate)
        return new, {**state, "extra": new}


class WritesIntoState(Good):
    def update(self, xp, param, grad, state, *, learning_rate):
        if hasattr(state["v"], "setflags"):  # NumPy's arrays, which could be written to
            state["v"][...] = 0.9 * state["v"] + grad
            return param - learning_rate * state["v"], {"v": state["v"]}
        return Good.update(self, xp, param, grad, state, learning_rate=learning_rate)


class WritesIntoTheDict(Good):
    def update(self, xp, param, grad, state, *, learning_rate):
        state["v"] = 0.9 * state["v"] + grad
        return param - learning_rate * state["v"], state


class AlwaysSingle(Good):
    def init(self, xp, param):
        return {"v": xp.zeros_like(param)}

    def update(self, xp, param, grad, state, *, learning_rate):
        new, v = Good.update(self, xp, param, grad, state, learning_rate=learning_rate)
        return new, {"v": xp.astype(v["v"], xp.float32)}


class NeedsTwoAxes(Good):
    def update(self, xp, param, grad, state, *, learning_rate):
        mean = xp.sum(grad, axis=1, keepdims=True)
        return Good.update(self, xp, param, grad - 0 * mean, state, learning_rate=learning_rate)


class DefaultDevice(Good):
    def init(self, xp, param):
        return {"v": xp.zeros(param.shape, dtype=param.dtype)}


class NotInTheStandard(Good):
    def update(self, xp, param, grad, state, *, learning_rate):
        grad = grad + 0 * xp.nan_to_num(grad)
        return Good.update(self, xp, param, grad, state, learning_rate=learning_rate)


class LooksAtValues(Good):
    def update(self, xp, param, grad, state, *, learning_rate):
        factor = 0.5 if xp.sum(xp.abs(xp.astype(grad, xp.float64))) > 1e9 else 1.0
        return Good.update(self, xp, param, factor * grad, state, learning_rate=learning_rate)


class BranchesOnTheStep(Good):
    def scalars(self, learning_rate, step):
        return {"learning_rate": learning_rate * 0.5 if step < 3 else learning_rate}


class NormalisesByTheNorm(Good):
    def update(self, xp, param, grad, state, *, learning_rate):
        grad = grad / (xp.sqrt(xp.sum(xp.square(grad))) + 1e-8)
        return Good.update(self, xp, param, grad, state, learning_rate=learning_rate)


class ZeroOverZero(Good):
    def update(self, xp, param, grad, state, *, learning_rate):
        size = xp.abs(grad)
        return Good.update(self, xp, param, grad * (size / size), state,
                           learning_rate=learning_rate)  # fmt: skip


@dataclass(frozen=True)
class RemembersOutside(Good):
    seen: list = field(default_factory=list, compare=False, repr=False)

    def update(self, xp, param, grad, state, *, learning_rate):
        COUNTS[type(self)] = COUNTS.get(type(self), 0) + 1
        grad = grad * (1 + 1e-6 * (COUNTS[type(self)] // 6))
        return Good.update(self, xp, param, grad, state, learning_rate=learning_rate)


COUNTS: dict = {}


@dataclass(frozen=True)
class ChangesLater(Good):
    """After it was recorded, which takes two calls."""

    seen: list = field(default_factory=list, compare=False, repr=False)

    def init(self, xp, param):
        self.seen.clear()
        return Good.init(self, xp, param)

    def update(self, xp, param, grad, state, *, learning_rate):
        self.seen.append(1)
        grad = grad * (0.5 if len(self.seen) > 4 else 1.0)
        return Good.update(self, xp, param, grad, state, learning_rate=learning_rate)


class Climbs(Good):
    def update(self, xp, param, grad, state, *, learning_rate):
        return Good.update(self, xp, param, -grad, state, learning_rate=learning_rate)


WRONG = {
    NotFrozen: {"protocol"},
    AsksForMore: {"protocol"},
    NewStateNames: {"protocol"},
    WritesIntoState: {"purity"},
    WritesIntoTheDict: {"purity"},
    AlwaysSingle: {"dtype"},
    NeedsTwoAxes: {"shape"},
    DefaultDevice: {"device"},
    NotInTheStandard: {"portability"},
    LooksAtValues: {"traceable"},
    BranchesOnTheStep: {"traceable"},
    NormalisesByTheNorm: {"elementwise"},
    ZeroOverZero: {"elementwise"},
    RemembersOutside: {"resume"},
    ChangesLater: {"captured"},
    Climbs: {"convergence"},
}


JUDGED = {name: rule for name, rule in RULES.items() if name not in REPORTED}


def findings(optimizer, rules=("reference",), **options):
    chosen = {name: RULES[name] for name in rules}
    report = judge(Subject(optimizer, **options), "wrong", chosen)
    return {f.rule: f for f in report.findings}


def test_the_good_one_passes():
    report = check_optimizer(Good())
    assert report.passed
    assert {f.rule for f in report.findings if f.outcome == "passed"} == set(RULES) - {
        "reference", *REPORTED
    }  # fmt: skip
    assert "✓ purity" in str(report)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda kind: kind.__name__)
def test_a_wrong_optimizer_is_caught_by_the_rule_that_names_it(wrong):
    found = findings(wrong(), JUDGED)
    failed = {rule for rule, finding in found.items() if finding.outcome == "failed"}
    assert WRONG[wrong] <= failed, failed


class TwoStep(Good):
    """Slots that hand their old values on, as a shift register does."""

    def init(self, xp, param):
        return {name: xp.zeros_like(param) for name in ("last", "older", "oldest")}

    def update(self, xp, param, grad, state, *, learning_rate):
        step = grad + 0.5 * state["last"] + 0.25 * state["older"] + 0.1 * state["oldest"]
        slots = {"last": 2.0 * grad, "older": state["last"], "oldest": state["older"]}
        return param - learning_rate * step, slots


class TwoStepApart(TwoStep):
    elementwise = False


@pytest.mark.parametrize("kind", [TwoStep, TwoStepApart])
def test_slots_that_are_handed_on_are_captured_rightly(kind):
    assert findings(kind(), ["captured"])["captured"].outcome == "passed"


def test_a_plan_that_hands_on_what_it_has_written_over_is_caught(monkeypatch):
    class Careless(InterpretedPlan):
        """Copies the first slot to the second when the first is new already."""

        def run(self, inputs):
            found = super().run(inputs)
            self._state["flat.0.older"] = self._state["flat.0.last"]
            return found

    backend = adl.get_backend()
    monkeypatch.setattr(backend, "compile", lambda program, like=None: Careless(program, backend))
    found = findings(TwoStep(), ["captured"])["captured"]
    assert found.outcome == "failed"
    assert "captured against eager" in found.message


def test_the_error_lists_every_rule_that_failed():
    with pytest.raises(errors.ConformanceError) as caught:
        check_optimizer(AsksForMore())
    failed = caught.value.report.failures
    assert len(failed) > 1
    assert all(f"✗ {finding.rule}" in str(caught.value) for finding in failed)


def test_every_rule_has_a_wrong_optimizer():
    named = set().union(*WRONG.values()) | {"reference"}
    assert named == set(RULES) - set(REPORTED)


PARAM, GRADS = [1.0, 2.0], [[1.0, -1.0], [0.5, 0.5]]
AFTER = [[0.99, 2.01], [0.976, 2.014]]


@pytest.mark.parametrize("params", [AFTER, {2: AFTER[1]}, {"1": AFTER[0]}])
def test_a_reference_trajectory_that_it_follows(params, tmp_path):
    claim = {"param": PARAM, "grads": GRADS, "params": params}
    assert findings(Good(), reference=claim)["reference"].outcome == "passed"
    (tmp_path / "claim.json").write_text(json.dumps(claim))
    assert findings(Good(), reference=tmp_path / "claim.json")["reference"].outcome == "passed"
    assert findings(Good(), reference=(PARAM, GRADS, params))["reference"].outcome == "passed"


def test_a_reference_trajectory_that_it_does_not_follow():
    claim = {"param": PARAM, "grads": GRADS, "params": [AFTER[0], [0.97, 2.014]]}
    finding = findings(Good(), reference=claim)["reference"]
    assert finding.outcome == "failed"
    assert "step 2 is off by 6.0e-03" in finding.message


def test_a_reference_may_be_a_function():
    def sgd(param, grads):
        out = []
        for grad in grads:
            param = param - 0.01 * grad
            out.append(param)
        return out

    assert findings(adl.optimizer("sgd"), reference=sgd)["reference"].outcome == "passed"
    assert findings(Good(), reference=sgd)["reference"].outcome == "failed"


def test_a_reference_that_is_none_of_these_is_refused():
    assert "expected {'param'" in findings(Good(), reference={"param": 1})["reference"].message


def test_a_name_that_is_not_installed():
    with pytest.raises(errors.UnknownNameError, match="Did you mean 'adam'"):
        check_optimizer("adamm")


@pytest.mark.parametrize("name", ["sgd", "momentum", "adagrad", "adam"])
def test_the_first_optimizers_pass(name):
    assert check_optimizer(name).passed
